-- What do machines answer to anybody in the internet? What is unknown may be answered, too.
SELECT host, protocol, port, evidence, last_seen
FROM connections
WHERE direction = 'in' AND peer = 'INTERNET' AND (answered OR evidence = 'unknown')
ORDER BY host, protocol, port;
