-- Which services does each machine have, and how many use them?
SELECT host, protocol, port, count(DISTINCT peer) AS peers, max(last_seen) AS last_seen
FROM connections
WHERE direction = 'in' AND answered
GROUP BY ALL ORDER BY host, protocol, port;
