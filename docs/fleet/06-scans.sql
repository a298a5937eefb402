-- Who tried ten ports or more of a machine and was answered on none?
SELECT peer, host, count(*) AS ports, min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM connections
WHERE direction = 'in' AND evidence <> 'unknown'
GROUP BY peer, host
HAVING count(*) >= 10 AND NOT bool_or(answered)
ORDER BY peer, host;
