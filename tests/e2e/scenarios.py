"""What people and agents do with Claude Code: each plays it with a client, and tells what was said in each session."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.e2e.client import Client, Run
from tests.e2e.model import Block, Model, call, text, thought

Conversation = list[tuple[str, str]]

ALLOWED = ("--allowedTools", "Bash Read Write Edit Agent EnterWorktree")


@dataclass(frozen=True)
class Played:
    """How the runs of the client ended, and what was said.

    Attributes:
        runs: of one at a terminal only how it ended is known.
        conversations: by session, the one that began first before the others.
        paid_elsewhere: US dollars that the client counts to a session for what stands in no line of its own; by session.
        second_from: the field in which the second session names the first one, where it came from that.
    """

    runs: list[Run]
    conversations: list[Conversation]
    paid_elsewhere: tuple[float, ...] = (0, 0)
    second_from: str | None = None


Scenario = Callable[[Client], Awaitable[Played]]


async def tools(client: Client) -> Played:
    """Several tools, two of them at once."""
    path = str(client.project / "note.txt")
    client.model.answers(
        "[[tools]]",
        [thought("A file first."), text("I write."), call("Write", file_path=path, content="hello\nworld\n")],
        [text("Two at once."), call("Bash", command="echo hi", description="Say hi"), call("Read", file_path=path)],
        [call("Edit", file_path=path, old_string="world", new_string="there")],
        [text("Done.")],
    )
    run = await client.run("[[tools]] Go.", *ALLOWED)
    return Played([run], [[("user", "[[tools]] Go."), *_said("I write.", "Two at once.", "Done.")]])


async def failing_tool(client: Client) -> Played:
    client.model.answers(
        "[[fail]]", [text("I try."), call("Bash", command="echo oops >&2; exit 3", description="Fail")], [text("It failed.")]
    )
    run = await client.run("[[fail]] Go.", *ALLOWED)
    return Played([run], [[("user", "[[fail]] Go."), *_said("I try.", "It failed.")]])


async def denied_tool(client: Client) -> Played:
    client.model.answers("[[deny]]", [text("I try."), call("Bash", command="touch made", description="Make a file")], [text("I may not.")])
    run = await client.run("[[deny]] Go.")
    assert not (client.project / "made").exists()
    return Played([run], [[("user", "[[deny]] Go."), *_said("I try.", "I may not.")]])


async def background_agent(client: Client) -> Played:
    """A sub-agent that works on while the main one has stopped, and is told of its end."""
    _script_agents(client.model, [text("It looks.")], [text("It has looked.")])
    client.model.hold("[[look]]", until=("[[delegate]]", 1))
    run = await client.run("[[delegate]] Go.", *ALLOWED)
    return Played([run], [[("user", "[[delegate]] Go."), *_said("I delegate.", "It looks.", "It has looked.")]])


async def foreground_agent(client: Client) -> Played:
    run = await client.run(script_foreground_agent(client.model), *ALLOWED)
    return Played([run], [[("user", "[[delegate]] Go."), *_said("I delegate.", "It has looked.")]])


def script_foreground_agent(model: Model) -> str:
    """Let the model delegate something and wait for it, and return what asks for that."""
    _script_agents(model, [text("It has looked.")], run_in_background=False)
    return "[[delegate]] Go."


async def compaction(client: Client) -> Played:
    """A conversation that is compacted, and goes on."""
    client.model.answers("[[before]]", [text("I look."), call("Bash", command="echo hi", description="Say hi")], [text("Before.")])
    client.model.answers("[[after]]", [text("After.")])
    first = await client.run("[[before]] Go.", *ALLOWED)
    compacted = await client.run("/compact", "--resume", first.sdk_session_id, *ALLOWED)
    last = await client.run("[[after]] Go on.", "--resume", first.sdk_session_id, *ALLOWED)
    conversation = [("user", "[[before]] Go."), *_said("I look.", "Before."), ("user", "[[after]] Go on."), *_said("After.")]
    # The summary was paid for, and no line of the transcript tells what it cost.
    return Played([first, compacted, last], [conversation], (compacted.cost - first.cost,))


async def resume(client: Client) -> Played:
    client.model.answers("[[begin]]", [text("Begun.")])
    client.model.answers("[[more]]", [text("More."), call("Bash", command="echo hi", description="Say hi")], [text("Done.")])
    first = await client.run("[[begin]] Go.", *ALLOWED)
    second = await client.run("[[more]] Go on.", "--resume", first.sdk_session_id, *ALLOWED)
    return Played([first, second], [[("user", "[[begin]] Go."), *_said("Begun."), ("user", "[[more]] Go on."), *_said("More.", "Done.")]])


async def fork(client: Client) -> Played:
    """A session that goes on as another one: what was said before belongs to both, and is paid for once."""
    client.model.answers("[[begin]]", [text("I look."), call("Bash", command="echo hi", description="Say hi")], [text("Begun.")])
    client.model.answers("[[other]]", [text("Otherwise.")])
    first = await client.run("[[begin]] Go.", *ALLOWED)
    second = await client.run("[[other]] Go on.", "--resume", first.sdk_session_id, "--fork-session", *ALLOWED)
    before = [("user", "[[begin]] Go."), *_said("I look.", "Begun.")]
    after = [*before, ("user", "[[other]] Go on."), *_said("Otherwise.")]
    # The fork goes on counting where the first one was.
    return Played([first, second], [before, after], (0, first.cost), "forked_from")


async def clear(client: Client) -> Played:
    """A person at a terminal who begins anew in the same process."""
    client.model.answers("[[one]]", [text("First answer.")])
    client.model.answers("[[two]]", [text("Second answer.")])
    async with client.interactive() as terminal:
        await terminal.shows("/effort")
        await terminal.type("[[one]] Go.")
        await terminal.shows("First answer.")
        await client.ends_turns(1)
        await terminal.type("/clear")
        # The screen is drawn anew.
        await terminal.shows("/effort")
        await terminal.type("[[two]] Go.")
        await terminal.shows("Second answer.")
        await client.ends_turns(2)
        await terminal.type("/exit")
        run = Run(await terminal.ends(), [], "")
    conversations = [[("user", "[[one]] Go."), *_said("First answer.")], [("user", "[[two]] Go."), *_said("Second answer.")]]
    return Played([run], conversations, second_from="cleared_from")


async def worktree(client: Client) -> Played:
    """A session in a worktree that the client makes."""
    await client.make_repository()
    client.model.answers("[[side]]", [call("Bash", command="touch made", description="Make a file")], [text("Made.")])
    run = await client.run("[[side]] Go.", "--worktree", "side", *ALLOWED)
    assert (client.project / ".claude/worktrees/side/made").exists()
    return Played([run], [[("user", "[[side]] Go."), *_said("Made.")]])


async def entered_worktree(client: Client) -> Played:
    """An agent that goes to a worktree in the middle: the transcript moves to another folder."""
    await client.make_repository()
    client.model.answers(
        "[[aside]]",
        [text("I go."), call("EnterWorktree", name="aside")],
        [call("Bash", command="touch made", description="Make a file")],
        [text("Made.")],
    )
    run = await client.run("[[aside]] Go.", *ALLOWED)
    assert (client.project / ".claude/worktrees/aside/made").exists()
    return Played([run], [[("user", "[[aside]] Go."), *_said("I go.", "Made.")]])


async def isolated_agent(client: Client) -> Played:
    """A sub-agent in a worktree of its own."""
    await client.make_repository()
    _script_agents(client.model, [text("It has looked.")], run_in_background=False, isolation="worktree")
    run = await client.run("[[delegate]] Go.", *ALLOWED)
    assert len(list(client.project.glob(".claude/worktrees/*/seen"))) == 1
    return Played([run], [[("user", "[[delegate]] Go."), *_said("I delegate.", "It has looked.")]])


def _script_agents(model: Model, *answers: Sequence[Block], **how: object) -> None:
    agent = call("Task", description="Look around", prompt="[[look]] Tell what you see.", subagent_type="general-purpose", **how)
    model.answers("[[delegate]]", [text("I delegate."), agent], *answers)
    model.answers("[[look]]", [text("I look."), call("Bash", command="touch seen", description="Look")], [text("One file.")])


def _said(*answers: str) -> Conversation:
    return [("assistant", answer) for answer in answers]


SCENARIOS: list[Scenario] = [
    tools,
    failing_tool,
    denied_tool,
    background_agent,
    foreground_agent,
    compaction,
    resume,
    fork,
    clear,
    worktree,
    entered_worktree,
    isolated_agent,
]
