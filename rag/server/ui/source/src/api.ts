// Calls of the server. A key is kept for as long as the tab is open, and sent with each of them.

import { stems, told } from './evidence/closest';
import { events } from './events';
import type { Assets, Base, Exhibit, Hit, Job, Medium, Message, Modality, Part, Told } from './types';

const KEY = 'exhibit-key';

/** A call that failed, in words for the one who reads the page. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retry_s = 0,
  ) {
    super(message);
  }
}

export function rememberKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

export function bases(): Promise<{ bases: Base[] }> {
  return json('api/bases');
}

export function base(name: string): Promise<Base> {
  return json(`api/bases/${encodeURIComponent(name)}`);
}

export interface Listing {
  after?: string;
  q?: string;
  medium?: Medium | '';
  limit?: number;
}

export function assets(name: string, listing: Listing, signal?: AbortSignal): Promise<Assets> {
  const query = new URLSearchParams();
  for (const [field, value] of Object.entries(listing)) if (value) query.set(field, String(value));
  return json(`api/bases/${encodeURIComponent(name)}/assets?${query}`, { signal });
}

export async function segments(name: string, asset_id: string): Promise<Hit[]> {
  const path = `api/bases/${encodeURIComponent(name)}/assets/${encodeURIComponent(asset_id)}/segments`;
  return (await json<{ segments: Hit[] }>(path)).segments;
}

/** Forgets an asset, or a file that failed. */
export async function remove(name: string, id: string): Promise<void> {
  const path = `api/bases/${encodeURIComponent(name)}/assets/${encodeURIComponent(id)}`;
  await called(path, { method: 'DELETE' });
}

export interface Search {
  query: string | Part[];
  to: Modality[];
  top_k: number;
  rerank: boolean;
}

export async function search(name: string, asked: Search, signal: AbortSignal): Promise<Hit[]> {
  const path = `api/bases/${encodeURIComponent(name)}/search`;
  const { hits } = await json<{ hits: Hit[] }>(path, { ...posted({ where: {}, ...asked }), signal });
  return hits.map((hit) => ({ ...hit, wanted: stems(hit.why.matched.join(' ')) }));
}

/** Sends files, and tells how much of them is sent; `fetch` cannot tell that. */
export function upload(name: string, files: File[], sent: (share: number) => void): Promise<string> {
  const form = new FormData();
  for (const file of files) form.append('files', file, file.name);
  const request = new XMLHttpRequest();
  request.open('POST', at(`api/bases/${encodeURIComponent(name)}/files`));
  for (const [header, value] of Object.entries(headers())) request.setRequestHeader(header, value);
  request.upload.onprogress = (event) => event.lengthComputable && sent(event.loaded / event.total);
  return new Promise((resolve, reject) => {
    request.onload = () => {
      if (request.status === 202) resolve((JSON.parse(request.responseText) as { job: string }).job);
      else reject(failure(request.status, request.responseText, request.getResponseHeader('Retry-After')));
    };
    request.onerror = () => reject(unreachable());
    request.send(form);
  });
}

export async function* job(id: string, signal: AbortSignal): AsyncGenerator<Job> {
  const answer = await called(`api/jobs/${encodeURIComponent(id)}/events`, { signal });
  for await (const data of events(answer.body!)) yield JSON.parse(data) as Job;
}

export async function cancel(id: string): Promise<void> {
  await called(`api/jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

export interface Piece {
  text: string;
  cited: Exhibit[];
  told: Told | null;
}

interface Annotation {
  url_citation: { start_index: number; end_index: number };
  exhibit: Exhibit;
}

interface Chunk {
  choices?: { delta?: { content?: string; annotations?: Annotation[] } }[];
  exhibit?: Told;
  error?: { message: string };
}

/** The answer to a chat, in pieces as it is written. */
export async function* ask(model: string, messages: Message[], signal: AbortSignal): AsyncGenerator<Piece> {
  const answer = await called('v1/chat/completions', { ...posted({ model, messages, stream: true }), signal });
  let [said, ended] = ['', false];
  for await (const data of events(answer.body!)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new Failure(500, chunk.error.message);
    const delta = chunk.choices?.[0]?.delta;
    said += delta?.content ?? '';
    ended ||= chunk.exhibit !== undefined;
    const cited = exhibits(delta?.annotations ?? [], said, chunk.exhibit?.question ?? '');
    yield { text: delta?.content ?? '', cited, told: chunk.exhibit ?? null };
  }
  if (!ended) throw new Failure(0, 'The connection ended before the answer did.');
}

/** Each cited exhibit once, by number, with what the answer says on it. */
function exhibits(annotations: Annotation[], answer: string, question: string): Exhibit[] {
  const characters = [...answer]; // the server counts characters, and some have two units in a string
  const found = new Map<number, Exhibit>();
  for (const { exhibit, url_citation: at } of annotations) {
    const statement = characters.slice(at.start_index, at.end_index).join('');
    const before = found.get(exhibit.number)?.wanted ?? [];
    found.set(exhibit.number, { ...exhibit, wanted: [...before, ...told(statement, question)] });
  }
  return [...found.values()].sort((one, other) => one.number - other.number);
}

/** A signed link as an address of this page's own server, however that is called from outside. */
export function linked(url: string | null | undefined): string | undefined {
  const path = url && /\/(evidence\/[^?#]+)/.exec(url)?.[1];
  return path ? at(path) : undefined;
}

function at(path: string): string {
  return new URL(path, document.baseURI.replace(/#.*/, '')).href;
}

function headers(): Record<string, string> {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function posted(body: unknown): RequestInit {
  return { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
}

async function json<T>(path: string, how: RequestInit = {}): Promise<T> {
  return (await (await called(path, how)).json()) as T;
}

async function called(path: string, how: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(at(path), { ...how, headers: { ...headers(), ...how.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw unreachable();
  }
  if (!answer.ok) throw failure(answer.status, await answer.text(), answer.headers.get('Retry-After'));
  return answer;
}

function unreachable(): Failure {
  return new Failure(0, 'The server cannot be reached. It may have stopped, or the network is down.');
}

/** What the server says is wrong, in either of its two forms. */
function failure(status: number, body: string, retry: string | null): Failure {
  if (status === 401) window.dispatchEvent(new Event('exhibit-key-needed'));
  let said = '';
  try {
    const problem = JSON.parse(body) as { detail?: string; title?: string; error?: { message?: string } };
    said = problem.error?.message ?? problem.detail ?? problem.title ?? '';
  } catch {
    // a proxy before the server answers in HTML
  }
  return new Failure(status, said || `The server answered with status ${status}.`, Number(retry) || 0);
}
