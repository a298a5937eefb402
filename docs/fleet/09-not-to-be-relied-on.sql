-- Which recordings are not whole, or are old?
SELECT host, lost, left_out, since, max(connections.last_seen) AS last_seen
FROM recordings LEFT JOIN connections USING (host), latest
GROUP BY host, lost, left_out, since, latest.time
HAVING lost IS NULL OR lost > 0 OR left_out > 0 OR since IS NULL
    OR max(connections.last_seen) IS NULL OR max(connections.last_seen) < latest.time - INTERVAL 1 DAY
ORDER BY host;
