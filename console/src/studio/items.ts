// Clips, songs and playlists in one form, and what the service does with each.

import { api, Problem, take, type Schema } from "../api/client"

export type Kind = "clip" | "song" | "playlist"

export type Item = {
  kind: Kind
  id: string
  project: string
  name: string
  metadata: Record<string, unknown>
  version: number
  createdAt: string
  updatedAt: string
  /** Of a clip. */
  code: string
  /** Clips of a song, songs of a playlist, in order. */
  members: string[]
}

export type Change = { name?: string; metadata?: Record<string, unknown>; code?: string; members?: string[] }
export type Creation = { id: string; project: string; name: string; metadata?: Record<string, unknown>; code?: string }
export type Page = { items: Item[]; cursor: string | undefined }
type Query = { project_id?: string; limit?: number; cursor?: string }

export const plural: Record<Kind, string> = { clip: "clips", song: "songs", playlist: "playlists" }
/** What an ordered item consists of. */
export const memberKind: Record<Kind, Kind | undefined> = { clip: undefined, song: "clip", playlist: "song" }

/** Return the address of an item's page, or of a project's. */
export function addressOf(project: string, kind?: Kind, id?: string): string {
  const path = `/studio/${encodeURIComponent(project)}`
  return kind && id !== undefined ? `${path}/${plural[kind]}/${encodeURIComponent(id)}` : path
}

export async function list(kind: Kind, query: Query, signal?: AbortSignal): Promise<Page> {
  const options = { params: { query }, signal }
  const page: { items: Row[]; next_cursor?: string | null } =
    kind === "clip"
      ? await take(api.GET("/api/clips", options))
      : kind === "song"
        ? await take(api.GET("/api/songs", options))
        : await take(api.GET("/api/playlists", options))
  return { items: page.items.map((row) => itemOf(kind, row)), cursor: page.next_cursor ?? undefined }
}

export async function read(kind: Kind, id: string): Promise<Item> {
  if (kind === "clip") return itemOf(kind, await take(api.GET("/api/clips/{clip_id}", { params: { path: { clip_id: id } } })))
  if (kind === "song") return itemOf(kind, await take(api.GET("/api/songs/{song_id}", { params: { path: { song_id: id } } })))
  return itemOf(kind, await take(api.GET("/api/playlists/{playlist_id}", { params: { path: { playlist_id: id } } })))
}

export async function create(kind: Kind, { id, project, name, metadata = {}, code = "" }: Creation): Promise<Item> {
  const fields = { project_id: project, name, metadata }
  if (kind === "clip") return itemOf(kind, await take(api.POST("/api/clips", { body: { ...fields, clip_id: id, code } })))
  if (kind === "song") return itemOf(kind, await take(api.POST("/api/songs", { body: { ...fields, song_id: id } })))
  return itemOf(kind, await take(api.POST("/api/playlists", { body: { ...fields, playlist_id: id } })))
}

/** Change an item that is at this version still; else the service answers 412. */
export async function change(kind: Kind, id: string, version: number, { members, code, ...fields }: Change): Promise<Item> {
  const header = ifMatch(version)
  if (kind === "clip") {
    const params = { path: { clip_id: id }, header }
    return itemOf(kind, await take(api.PUT("/api/clips/{clip_id}", { params, body: { ...fields, code } })))
  }
  if (kind === "song") {
    const params = { path: { song_id: id }, header }
    return itemOf(kind, await take(api.PUT("/api/songs/{song_id}", { params, body: { ...fields, clip_ids: members } })))
  }
  const params = { path: { playlist_id: id }, header }
  return itemOf(kind, await take(api.PUT("/api/playlists/{playlist_id}", { params, body: { ...fields, song_ids: members } })))
}

export async function remove(kind: Kind, id: string, version: number): Promise<void> {
  const header = ifMatch(version)
  if (kind === "clip") await take(api.DELETE("/api/clips/{clip_id}", { params: { path: { clip_id: id }, header } }))
  else if (kind === "song") await take(api.DELETE("/api/songs/{song_id}", { params: { path: { song_id: id }, header } }))
  else await take(api.DELETE("/api/playlists/{playlist_id}", { params: { path: { playlist_id: id }, header } }))
}

export function ifMatch(version: number) {
  return { "if-match": `"${version}"` }
}

/** There is no such item. */
export function isMissing(error: unknown): boolean {
  return error instanceof Problem && error.status === 404
}

/** The item is at another version by now. */
export function isStale(error: unknown): boolean {
  return error instanceof Problem && error.status === 412
}

type Row = Schema<"ClipRead"> | Schema<"SongRead"> | Schema<"PlaylistRead">

export function itemOf(kind: Kind, row: Row): Item {
  return {
    kind,
    id: "clip_id" in row ? row.clip_id : "song_id" in row ? row.song_id : row.playlist_id,
    project: row.project_id,
    name: row.name,
    metadata: row.metadata ?? {},
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    code: "code" in row ? row.code : "",
    members: "clip_ids" in row ? row.clip_ids : "song_ids" in row ? row.song_ids : [],
  }
}
