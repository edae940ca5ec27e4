// Calls to the server. The key is kept while the tab is open, and sent with each call.

import { stems, told } from './evidence/closest';
import { events } from './events';
import type { Assets, Base, Chats, Exhibit, Hit, Job, Medium, Modality, Part, Said, Told, Verdict } from './types';

const KEY = 'exhibit-key';

/** A failed call, with a message for the reader of the page. */
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

/** Removes an asset, or a file that failed. */
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

/** Sends files and reports the progress, which `fetch` cannot do. */
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
  for await (const data of whole(answer, signal)) yield JSON.parse(data) as Job;
}

export async function jobs(name: string): Promise<Job[]> {
  return (await json<{ jobs: Job[] }>(`api/bases/${encodeURIComponent(name)}/jobs`)).jobs;
}

export async function cancel(id: string): Promise<void> {
  await called(`api/jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** A page of the stored chats, newest first. */
export function chats(after: string): Promise<Chats> {
  return json(`v1/conversations?${new URLSearchParams({ limit: '100', ...(after && { after }) })}`);
}

export async function beginChat(signal: AbortSignal): Promise<string> {
  return (await json<{ id: string }>('v1/conversations', { ...posted({}), signal })).id;
}

export async function forgetChat(id: string): Promise<void> {
  await called(`v1/conversations/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** The messages of a chat, oldest first: questions in words, each followed by its answer. */
export async function said(id: string, signal: AbortSignal): Promise<Said[]> {
  const found: Said[] = [];
  for (let after = ''; ; ) {
    const query = new URLSearchParams({ order: 'asc', limit: '100', ...(after && { after }) });
    const path = `v1/conversations/${encodeURIComponent(id)}/items?${query}`;
    const page = await json<{ data: Item[]; has_more: boolean; last_id: string }>(path, { signal });
    for (const item of page.data) {
      if (item.role === 'user') found.push({ id: item.id, words: item.content[0]!.text, written: null });
      else if (found.length) found.at(-1)!.written = written(item.content[0]!, item.exhibit ?? null);
    }
    if (!page.has_more) return found;
    after = page.last_id;
  }
}

interface Content {
  text: string;
  annotations?: { start_index: number; end_index: number; exhibit: Exhibit & { verdict?: Verdict } }[];
}

interface Item {
  id: string;
  role: 'user' | 'assistant';
  content: Content[];
  exhibit?: Told;
}

/** A complete answer. */
export interface Written {
  answer: string;
  cited: Exhibit[];
  told: Told | null;
}

interface Event {
  type: string;
  delta?: string;
  response?: { output: Item[]; exhibit: Told; error: { message: string } | null };
}

/** The answer to a question of a chat: its pieces while it is written, then the complete answer. */
export async function* ask(
  model: string,
  conversation: string,
  question: string | Part[],
  signal: AbortSignal,
): AsyncGenerator<string | Written> {
  const input = typeof question === 'string' ? question : [{ role: 'user', content: question }];
  const answer = await called('v1/responses', { ...posted({ model, conversation, input, stream: true }), signal });
  for await (const data of whole(answer, signal)) {
    const { type, delta, response } = JSON.parse(data) as Event;
    if (type === 'response.output_text.delta') yield delta!;
    if (type === 'response.failed') throw new Failure(500, response!.error!.message);
    if (type === 'response.completed') {
      yield written(response!.output[0]!.content[0]!, response!.exhibit);
      return;
    }
  }
  throw cutOff();
}

function written({ text, annotations }: Content, told: Told | null): Written {
  return { answer: text, cited: exhibits(annotations ?? [], text, told?.question ?? ''), told };
}

/** Each cited exhibit once, by number, with the words of the statements that cite it and the verdicts on them. */
function exhibits(annotations: NonNullable<Content['annotations']>, answer: string, question: string): Exhibit[] {
  const characters = [...answer]; // the server counts characters, and some have two units in a string
  const found = new Map<number, Exhibit>();
  for (const { exhibit, start_index, end_index } of annotations) {
    const statement = characters.slice(start_index, end_index).join('');
    const { wanted = [], verdicts = [] } = found.get(exhibit.number) ?? {};
    found.set(exhibit.number, {
      ...exhibit,
      wanted: [...wanted, ...told(statement, question)],
      verdicts: [...verdicts, exhibit.verdict ?? null],
    });
  }
  return [...found.values()].sort((one, other) => one.number - other.number);
}

/** A signed link as an address on this page's own server, whatever its public name. */
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

/** The events of an answer. A lost connection becomes a failure with a message. */
async function* whole(answer: Response, signal: AbortSignal): AsyncGenerator<string> {
  try {
    yield* events(answer.body!);
  } catch (error) {
    if (signal.aborted || error instanceof Failure) throw error;
    throw cutOff();
  }
}

function cutOff(): Failure {
  return new Failure(0, 'The connection to the server was lost.');
}

function unreachable(): Failure {
  return new Failure(0, 'The server cannot be reached. It may have stopped, or the network is down.');
}

/** The server's error message, in either of its two forms. */
function failure(status: number, body: string, retry: string | null): Failure {
  if (status === 401) {
    window.dispatchEvent(new Event('exhibit-key-needed'));
    return new Failure(status, sessionStorage.getItem(KEY) ? 'The server does not accept this key.' : 'A key is needed.');
  }
  let said = '';
  try {
    const problem = JSON.parse(body) as { detail?: string; title?: string; error?: { message?: string } };
    said = problem.error?.message ?? problem.detail ?? problem.title ?? '';
  } catch {
    // a proxy before the server answers in HTML
  }
  return new Failure(status, said || `The server returned status ${status}.`, Number(retry) || 0);
}
