-- Which of the machines talk to each other? Both ends are named: an address may be of several machines.
WITH addresses AS (SELECT DISTINCT host, unnest(addresses) AS address FROM recordings)
SELECT connections.host AS client, addresses.host AS server, protocol, port, evidence
FROM connections JOIN addresses ON addresses.address = connections.peer
WHERE direction = 'out' AND connections.host <> addresses.host
ORDER BY client, server, protocol, port;
