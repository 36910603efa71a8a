"""What holds in every database after every commit, whoever wrote: asked in SQL, of all sessions at once, past the code that is tested."""

from typing import Any

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_CHILDREN = ("agents", "agent_logs", "messages", "memory_files", "transcripts", "usage", "activity_minutes")
_CHANGING = ("sessions", "agents", "memory_files", "clips", "songs", "playlists")


def _gap(count: str, table: str, index: str) -> str:
    """Indexes are 0 … count - 1, each once; of a deleted session some may be erased already."""
    return f"""
        SELECT s.id, format('{count} is %s, but there are %s, from %s to %s', s.{count}, rows, lowest, highest)
        FROM sessions s
        LEFT JOIN (
            SELECT session_id, count(DISTINCT {index}) AS rows, min({index}) AS lowest, max({index}) AS highest
            FROM {table} GROUP BY session_id
        ) r ON r.session_id = s.id
        WHERE s.deleted_at IS NULL
          AND (s.{count}, s.{count} - 1, 0) IS DISTINCT FROM (coalesce(rows, 0), coalesce(highest, -1), coalesce(lowest, 0))"""


def _sum(noun: str, of_session: str, below: str) -> str:
    """What stands in a row is the sum of what stands below it, to the last digit."""
    return f"""
        SELECT s.id, format('{noun} is %s, but the sum is %s', ({of_session}), b.total)
        FROM ({below}) b JOIN sessions s ON s.id = b.session_id
        WHERE s.deleted_at IS NULL AND ({of_session}) <> b.total"""


def _agent_total(name: str, of_usage: str) -> str:
    return f"""
        SELECT a.session_id, format('agent %s has {name} %s, its usage %s', a.id, a.{name}, sum({of_usage}))
        FROM agents a JOIN usage u ON (u.session_id, u.agent_id) = (a.session_id, a.id) JOIN sessions s ON s.id = a.session_id
        WHERE s.deleted_at IS NULL
        GROUP BY a.session_id, a.id HAVING a.{name} <> sum({of_usage})"""


def _agent_elsewhere(table: str, column: str) -> str:
    return f"""
        SELECT t.session_id, format('a row of {table} has agent %s of another session, or none', t.{column})
        FROM {table} t LEFT JOIN agents a ON (a.session_id, a.id) = (t.session_id, t.{column})
        WHERE t.{column} IS NOT NULL AND a.id IS NULL"""


def _total_of_agents(name: str) -> str:
    agents = f"SELECT s.id AS session_id, coalesce(sum(a.{name}), 0) AS total FROM sessions s LEFT JOIN agents a ON a.session_id = s.id"
    return _sum(f"total_{name}", f"s.total_{name}", f"{agents} GROUP BY s.id")


def _any_of(queries: Any) -> str:
    return " UNION ALL ".join(queries)


_SPENT = "coalesce(u.computed_cost, u.reported_cost, 0)"
_OF_USAGE = {name: f"u.{name}" for name in _TOKENS} | {
    "cache_write_tokens": "u.cache_write_5m_tokens + u.cache_write_1h_tokens",
    "cost": _SPENT,
}

INVARIANTS: dict[str, str] = {
    "event_index has no gap": _gap("event_count", "agent_logs", "event_index"),
    "message_index has no gap": _gap("message_count", "messages", "message_index"),
    "a session's totals are the sum of its agents": _any_of(map(_total_of_agents, (*_TOKENS, "cost"))),
    "an agent with usage has its sum": _any_of(_agent_total(name, column) for name, column in _OF_USAGE.items()),
    "minutes count every event": """
        SELECT coalesce(e.session_id, m.session_id), format('%s has %s events, its minute %s', minute, happened, m.events)
        FROM (
            SELECT session_id, date_trunc('minute', "timestamp", 'UTC') AS minute, count(*) AS happened
            FROM agent_logs WHERE session_id IN (SELECT id FROM sessions WHERE deleted_at IS NULL) GROUP BY 1, 2
        ) e
        FULL JOIN (
            SELECT session_id, minute, events FROM activity_minutes WHERE session_id IN (SELECT id FROM sessions WHERE deleted_at IS NULL)
        ) m USING (session_id, minute)
        WHERE coalesce(happened, 0) <> coalesce(m.events, 0)""",
    "minutes hold every cost": _sum(
        "the cost of the usage",
        f"SELECT coalesce(sum({_SPENT}), 0) FROM usage u WHERE u.session_id = s.id",
        "SELECT s.id AS session_id, coalesce(sum(m.cost), 0) AS total FROM sessions s LEFT JOIN activity_minutes m ON m.session_id = s.id "
        "GROUP BY s.id",
    ),
    "an agent belongs to the session of its rows": _any_of(
        _agent_elsewhere(table, column)
        for table, column in (
            ("agent_logs", "agent_id"),
            ("usage", "agent_id"),
            ("transcripts", "agent_id"),
            ("agents", "parent_agent_id"),
        )
    ),
    "no agent began itself": """
        SELECT above.session_id, format('agent %s stands below itself', above.id)
        FROM (
            WITH RECURSIVE above (session_id, id, ancestor) AS (
                SELECT session_id, id, parent_agent_id FROM agents WHERE parent_agent_id IS NOT NULL
                UNION
                SELECT above.session_id, above.id, a.parent_agent_id
                FROM above JOIN agents a ON (a.session_id, a.id) = (above.session_id, above.ancestor)
                WHERE a.parent_agent_id IS NOT NULL
            )
            SELECT * FROM above
        ) above
        WHERE above.id = above.ancestor""",
    "a stream has every entry once, in order": """
        SELECT t.session_id, format('stream %s: next_seq %s, projected_seq %s, but %s entries from %s to %s',
                                    t.id, t.next_seq, t.projected_seq, rows, lowest, highest)
        FROM transcripts t
        JOIN sessions s ON s.id = t.session_id AND s.deleted_at IS NULL
        LEFT JOIN (
            SELECT session_id, transcript_id, count(DISTINCT seq) AS rows, min(seq) AS lowest, max(seq) AS highest
            FROM transcript_entries GROUP BY session_id, transcript_id
        ) e ON (e.session_id, e.transcript_id) = (t.session_id, t.id)
        WHERE (t.next_seq, t.next_seq - 1, 0) IS DISTINCT FROM (coalesce(rows, 0), coalesce(highest, -1), coalesce(lowest, 0))
           OR t.projected_seq NOT BETWEEN 0 AND t.next_seq""",
    "an entry has a stream": """
        SELECT e.session_id, format('entry %s of stream %s', e.seq, e.transcript_id)
        FROM transcript_entries e LEFT JOIN transcripts t ON (t.session_id, t.id) = (e.session_id, e.transcript_id)
        WHERE t.id IS NULL""",
    "a session's reported cost is the sum of its streams": """
        SELECT s.id, format('reported_cost is %s', s.reported_cost)
        FROM sessions s
        WHERE s.deleted_at IS NULL
          AND s.reported_cost IS DISTINCT FROM (SELECT sum(t.reported_cost) FROM transcripts t WHERE t.session_id = s.id)""",
    "an SDK session is bound to a live session and its agent, or a tombstone": """
        SELECT b.session_id, format('%s: agent %s, deleted %s', b.sdk_key, b.agent_id, b.deleted_at)
        FROM sdk_sessions b
        LEFT JOIN sessions s ON s.id = b.session_id AND s.deleted_at IS NULL
        LEFT JOIN agents a ON (a.session_id, a.id) = (b.session_id, b.agent_id)
        WHERE CASE WHEN b.session_id IS NULL THEN b.agent_id IS NOT NULL OR b.deleted_at IS NULL
                   ELSE s.id IS NULL OR a.id IS NULL OR b.deleted_at IS NOT NULL END""",
    "an erased session leaves no row": _any_of(
        f"SELECT t.session_id, 'in {table}' FROM {table} t LEFT JOIN sessions s ON s.id = t.session_id WHERE s.id IS NULL"
        for table in _CHILDREN
    ),
    "nothing is active in the future": """
        SELECT id, format('last_activity is %s', last_activity) FROM sessions WHERE last_activity > clock_timestamp()""",
    "nothing changed before it was made": _any_of(
        f"SELECT NULL::uuid, format('{table}: made %s, changed %s', created_at, updated_at) FROM {table} WHERE updated_at < created_at"
        for table in _CHANGING
    ),
    "one memory file is primary": """
        SELECT session_id, format('%s are', count(*)) FROM memory_files WHERE is_primary GROUP BY session_id HAVING count(*) > 1""",
    "a slug stands once in a project": """
        SELECT NULL::uuid, format('%s in %s', session_slug, working_dir)
        FROM sessions WHERE session_slug IS NOT NULL GROUP BY working_dir, session_slug HAVING count(*) > 1""",
    "a client_id stands once in a session": """
        SELECT session_id, client_id FROM messages WHERE client_id IS NOT NULL GROUP BY session_id, client_id HAVING count(*) > 1""",
    "a deleted session has no slug": "SELECT id, session_slug FROM sessions WHERE deleted_at IS NOT NULL AND session_slug IS NOT NULL",
    "a clip is newer than its versions": """
        SELECT v.session_id, format('clip %s is at version %s, and has %s', c.clip_id, c.version, v.version)
        FROM clips c JOIN clip_versions v ON v.clip_id = c.clip_id WHERE v.version >= c.version""",
    "what an item names is there": _any_of(
        f"SELECT NULL::uuid, format('%s names %s', i.{item}_id, wanted) FROM {item}s i, jsonb_array_elements_text(i.{named}_ids) wanted "
        f"WHERE wanted NOT IN (SELECT {named}_id FROM {named}s)"
        for item, named in (("song", "clip"), ("playlist", "song"))
    ),
}
"""By what is claimed: a query that returns what contradicts it, as session and detail."""

_ALL = _any_of(
    f"SELECT {number} AS number, broken.* FROM ({query}) AS broken (session_id, detail)" for number, query in enumerate(INVARIANTS.values())
)


async def violations(connection: Any) -> list[str]:
    """Return what does not hold, by name and with the session and the numbers.

    Args:
        connection: of the bare driver; what it sees is checked, its own transaction included.
    """
    names = list(INVARIANTS)
    rows = await connection.fetch(_ALL)
    return sorted(f"{names[row['number']]}: session {row['session_id']}: {row['detail']}" for row in rows)
