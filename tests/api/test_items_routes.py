"""Clips, songs and playlists over HTTP: any id in a URL, and versions that decide between writers."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient, Response

from tests.api.test_seed_routes import CLIP, ITEMS

IDS = [
    "a b",
    "50%",
    "%2F",
    "ü",
    "a?b",
    "a#b",
    "a;b",
    "a+b",
    "a&b=c",
    "...",
    "..a",
    "a\\b",
    "versions",
    "a\nb",
    "𝄞",
    " ",
    "'\"<>",
    "é" * 100,
]


async def create_clip(client: AsyncClient, **values: Any) -> str:
    answer = await client.post("/api/clips", json=CLIP | values)
    assert answer.status_code == 201, answer.text
    assert answer.headers["ETag"] == f'"{answer.json()["version"]}"'
    return answer.headers["Location"]


class TestIds:
    async def test_each_is_reached_where_the_location_says(self, client: AsyncClient) -> None:
        for clip_id in IDS:
            path = await create_clip(client, clip_id=clip_id)
            assert path.isascii()
            assert (await client.get(path)).json()["clip_id"] == clip_id
            assert (await client.put(path, json={"code": "changed"})).json()["version"] == 2
            assert [version["clip_id"] for version in (await client.get(f"{path}/versions")).json()["items"]] == [clip_id]
            assert (await client.get(f"{path}/diff?from=1&to=2")).json()["diff"]
            assert (await client.post(f"{path}/versions/1/restore")).json()["code"] == CLIP["code"]
            assert (await client.delete(path)).status_code == 204

    async def test_what_no_url_can_hold_is_refused(self, client: AsyncClient) -> None:
        for clip_id in (".", "..", "/", "a/b", "", "x" * 101, "\0"):
            answer = await client.post("/api/clips", json=CLIP | {"clip_id": clip_id})
            assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "clip_id")


class TestIfMatch:
    @pytest.mark.parametrize("noun", ITEMS)
    async def test_of_two_writers_at_once_one_wins(self, client: AsyncClient, noun: str) -> None:
        for kind, item in ITEMS.items():
            await client.post(f"/api/{kind}", json=item)
        path = f"/api/{noun}/{ITEMS[noun][f'{noun[:-1]}_id']}"

        async def rename(number: int) -> Response:
            return await client.put(path, json={"name": str(number)}, headers={"If-Match": '"1"'})

        answers = await asyncio.gather(*(rename(number) for number in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
        assert (await client.get(path)).headers["ETag"] == '"2"'

    async def test_a_stale_one_changes_nothing(self, client: AsyncClient) -> None:
        path = await create_clip(client)
        await client.put(path, json={"code": "second"}, headers={"If-Match": '"1"'})
        stale = {"If-Match": '"1"'}
        for answer in (
            await client.put(path, json={"code": "third"}, headers=stale),
            await client.delete(path, headers=stale),
            await client.post(f"{path}/versions/1/restore", headers=stale),
        ):
            assert (answer.status_code, answer.json()["code"]) == (412, "stale_version")
        assert (await client.get(path)).json()["code"] == "second"
        assert (await client.delete(path, headers={"If-Match": "*"})).status_code == 204

    async def test_what_is_no_tag_of_ours_is_refused(self, client: AsyncClient) -> None:
        path = await create_clip(client)
        for tag in ('W/"1"', '"1", "2"', "1", '""', '"x"', ""):
            assert (await client.put(path, json={"name": "x"}, headers={"If-Match": tag})).status_code == 422
        assert (await client.get(path)).json()["name"] == CLIP["name"]


class TestRestore:
    async def test_code_and_metadata_come_back_with_a_body_or_none(self, client: AsyncClient) -> None:
        path = await create_clip(client)
        for number, body in enumerate((None, b"null", b"{}", b'{"code": "ignored"}')):
            await client.put(path, json={"code": "second", "metadata": None})
            headers = {} if body is None else {"Content-Type": "application/json"}
            restored = await client.post(f"{path}/versions/1/restore", content=body, headers=headers)
            assert (restored.status_code, restored.headers["ETag"]) == (200, f'"{2 * number + 3}"')
            assert {name: restored.json()[name] for name in CLIP} == CLIP

    async def test_a_deleted_clip_comes_back_with_its_versions(self, client: AsyncClient) -> None:
        path = await create_clip(client)
        await client.delete(path)
        assert (await client.post(f"{path}/versions/1/restore")).status_code == 422
        given = {"project_id": "house_project", "name": "Kick"}
        assert (await client.post(f"{path}/versions/1/restore", json=given, headers={"If-Match": '"1"'})).status_code == 404
        assert (await client.post(f"{path}/versions/1/restore", json=given)).json()["version"] == 2
        assert (await client.get(f"{path}/versions")).json()["items"][0]["version"] == 1

    async def test_what_never_was_is_not_found(self, client: AsyncClient) -> None:
        path = await create_clip(client)
        for answer in (
            await client.post(f"{path}/versions/9/restore"),
            await client.get(f"{path}/versions/9"),
            await client.get(f"{path}/diff?from=1&to=9"),
            await client.get("/api/clips/gone/diff?from=1&to=2"),
        ):
            assert answer.status_code == 404
