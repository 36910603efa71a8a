-- What a schema has to keep so that a cluster (Citus) can distribute it, asked of the catalog of plain PostgreSQL. No rows: it keeps all.
-- "distributed" are the tables under a session, with their distribution column; the others stay local, without a foreign key into those.
WITH distributed (name, key) AS (
    VALUES ('sessions', 'id'), ('agents', 'session_id'), ('agent_logs', 'session_id'), ('messages', 'session_id'),
           ('memory_files', 'session_id'), ('transcripts', 'session_id'), ('transcript_entries', 'session_id'), ('usage', 'session_id'),
           ('activity_minutes', 'session_id')
),
place AS (
    SELECT name, key, to_regclass(name) AS relation, attnum, atttypid, attnotnull, attgenerated
    FROM distributed LEFT JOIN pg_attribute ON attrelid = to_regclass(name) AND attname = key
),
foreign_key AS (
    SELECT conname, conrelid, confrelid, conkey, confkey, confdeltype, confupdtype,
           child.attnum AS child_key, parent.attnum AS parent_key,
           child.relation IS NOT NULL AS from_distributed, parent.relation IS NOT NULL AS to_distributed
    FROM pg_constraint
    LEFT JOIN place child ON child.relation = conrelid
    LEFT JOIN place parent ON parent.relation = confrelid
    WHERE contype = 'f'
)
SELECT name AS table_name, 'is missing' AS problem, '' AS what FROM place WHERE relation IS NULL
UNION ALL
SELECT name, 'has no distribution column that is never null and not generated', key FROM place
WHERE relation IS NOT NULL AND (attnum IS NULL OR NOT attnotnull OR attgenerated <> '')
UNION ALL
SELECT name, 'has a distribution column of another type', key FROM place WHERE atttypid <> (SELECT atttypid FROM place WHERE name = 'sessions')
UNION ALL
SELECT name, 'has a unique index without the distribution column', indexrelid::regclass::text
FROM place JOIN pg_index ON indrelid = relation
WHERE (indisunique OR indisexclusion) AND NOT attnum = ANY (indkey[0:indnkeyatts - 1])
UNION ALL
SELECT name, 'has no primary key', '' FROM place
WHERE relation IS NOT NULL AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisprimary)
UNION ALL
SELECT name, 'has a trigger', tgname FROM place JOIN pg_trigger ON tgrelid = relation WHERE NOT tgisinternal
UNION ALL
SELECT name, 'has a sequence on a column smaller than bigint', attname
FROM place JOIN pg_attribute a ON attrelid = relation AND a.attnum > 0 AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
WHERE pg_get_serial_sequence(relation::text, attname) IS NOT NULL
UNION ALL
SELECT name, 'has an identity column', attname FROM place JOIN pg_attribute a ON attrelid = relation AND a.attnum > 0 AND attidentity <> ''
UNION ALL
SELECT conrelid::regclass::text, 'has a foreign key between a distributed and a local table', conname FROM foreign_key
WHERE from_distributed <> to_distributed
UNION ALL
SELECT conrelid::regclass::text, 'has a foreign key that does not pair the distribution columns', conname FROM foreign_key
WHERE from_distributed AND to_distributed
  AND coalesce(array_position(conkey, child_key), -1) <> coalesce(array_position(confkey, parent_key), -2)
UNION ALL
SELECT conrelid::regclass::text, 'has a foreign key that would change the distribution column', conname FROM foreign_key
WHERE child_key = ANY (conkey) AND (confdeltype IN ('n', 'd') OR confupdtype IN ('c', 'n', 'd'))
ORDER BY 1, 2, 3;
