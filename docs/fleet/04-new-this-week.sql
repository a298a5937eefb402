-- What was first seen within the last seven days? Where that is unknown (a tree that was copied), it is not listed.
SELECT host, direction, protocol, peer, port, evidence, first_seen
FROM connections, latest
WHERE first_seen >= latest.time - INTERVAL 7 DAY
ORDER BY first_seen, host, port;
