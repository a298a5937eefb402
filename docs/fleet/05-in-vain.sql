-- What do machines try without an answer: a service that is gone, a firewall that drops?
SELECT host, protocol, peer, port, evidence, last_seen
FROM connections
WHERE direction = 'out' AND evidence IN ('none', 'refused')
ORDER BY host, protocol, peer, port;
