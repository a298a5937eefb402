-- What conntrack printed with -f jsonl, of all machines in this folder: a row for each recording, and one for each
-- connection. Types are given, so that a column of which a sample is null is not guessed.
SET TimeZone = 'UTC';

CREATE VIEW lines AS
SELECT * FROM read_json('*.jsonl', format = 'newline_delimited', filename = 'file', columns = {
    type: 'VARCHAR', version: 'INTEGER', host: 'VARCHAR',
    -- Of the recording.
    device: 'VARCHAR', addresses: 'VARCHAR[]', since: 'TIMESTAMPTZ', flags: 'VARCHAR[]', lost: 'UBIGINT',
    connections: 'UBIGINT', left_out: 'UBIGINT',
    -- Of a connection.
    direction: 'VARCHAR', protocol: 'VARCHAR', source: 'VARCHAR', source_port: 'USMALLINT', destination: 'VARCHAR',
    destination_port: 'USMALLINT', evidence: 'VARCHAR', accepted: 'BOOLEAN', first_seen: 'TIMESTAMPTZ',
    last_seen: 'TIMESTAMPTZ', units: 'VARCHAR[]'
});

CREATE VIEW recordings AS
SELECT file, coalesce(host, file) AS host, device, addresses, date_trunc('second', since) AS since, flags, lost, connections, left_out
FROM lines WHERE type = 'recording';

-- The own address and the other one; the role is the host's name without its number.
CREATE VIEW connections AS
SELECT coalesce(host, file) AS host, regexp_replace(coalesce(host, file), '[0-9]+$', '') AS role,
    direction, protocol, source, source_port, destination, destination_port AS port,
    CASE direction WHEN 'in' THEN destination WHEN 'out' THEN source END AS own,
    CASE direction WHEN 'in' THEN source WHEN 'out' THEN destination END AS peer,
    evidence, evidence IN ('answered', 'served') AS answered, accepted,
    date_trunc('second', first_seen) AS first_seen, date_trunc('second', last_seen) AS last_seen,
    units
FROM lines WHERE type = 'connection';

-- The latest sight of anything: now, as far as these recordings tell.
CREATE VIEW latest AS SELECT max(last_seen) AS time FROM connections;
