-- Who uses PostgreSQL, and on which machine?
SELECT host, peer, max(last_seen) AS last_seen
FROM connections
WHERE direction = 'in' AND protocol = 'tcp' AND port = 5432 AND answered
GROUP BY ALL ORDER BY host, peer;
