-- Which machine has a service that others of its role have not, or lacks one that most of them have?
WITH services AS (
    SELECT DISTINCT role, host, protocol, port FROM connections WHERE direction = 'in' AND answered
), machines AS (
    SELECT role, host, count(*) OVER (PARTITION BY role) AS of_role FROM (SELECT DISTINCT role, host FROM connections)
), pairs AS (
    SELECT machines.role, machines.host, of_role, protocol, port, others.hosts,
        EXISTS (FROM services WHERE services.host = machines.host AND services.protocol = others.protocol
            AND services.port = others.port) AS has
    FROM machines JOIN (
        SELECT role, protocol, port, count(*) AS hosts FROM services GROUP BY ALL
    ) AS others USING (role)
)
SELECT role, host, protocol, port, CASE WHEN has THEN 'has alone' ELSE 'lacks' END AS what
FROM pairs
WHERE of_role > 2 AND (has AND hosts = 1 OR NOT has AND hosts > of_role / 2)
ORDER BY role, host, protocol, port;
