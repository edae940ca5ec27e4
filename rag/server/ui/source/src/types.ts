// Types of what the server sends (`rag/server`).

import type { Written } from './api';

export type Modality = 'text' | 'image' | 'audio' | 'video';
export const MODALITIES: Modality[] = ['text', 'image', 'audio', 'video'];
export type Medium = 'document' | 'image' | 'audio' | 'video';
export type View = 'marked' | 'crop' | 'thumbnail' | 'clip' | 'waveform' | 'text';
export type Views = Partial<Record<View, string>>;
/** A spoken word with its start and end in seconds of the whole recording. */
export type Word = [text: string, start_s: number, end_s: number];

/** Whether the evidence says what a statement says (`rag.types.Verdict`). */
export interface Verdict {
  name: 'supported' | 'misattributed' | 'contradicted' | 'unsupported' | 'unchecked';
  reason: string;
  support: number | null;
  /** The narrower place that says it. */
  locator: string | null;
  quote: string;
}

/** A place in the collection: evidence of an answer, or a hit of a search. */
export interface Shown {
  asset_id: string;
  modality: Modality;
  kind: string;
  locator: string;
  title: string;
  text: string;
  caption: string;
  tags: string[];
  words: Word[];
  views: Views;
  /** Stems of the words to mark, if known: of a statement, or of a query. */
  wanted?: string[];
  /**
   * The verdict on each statement that cites it, in their order. Null for a statement of an answer that was stored
   * before there were verdicts: it was not checked, which is true of the whole answer and not marked at each statement.
   */
  verdicts?: (Verdict | null)[];
}

export interface Exhibit extends Shown {
  number: number;
}

export interface Lane {
  name: string;
  rank: number;
  score: number;
  belief: number;
}

export interface Why {
  lanes: Lane[];
  matched: string[];
  against: number;
}

export interface Hit extends Shown {
  id: string;
  name: string;
  place: string;
  score: number;
  is_believed: boolean;
  relevance: number | null;
  why: Why;
  meta: Record<string, unknown>;
}

export interface Told {
  question: string;
  declined: boolean;
  warnings: string[];
  ignored: string[];
}

export interface Failed {
  id: string;
  name: string;
  reason: string;
}

export interface Base {
  name: string;
  assets: { indexed: number; empty: number; failed: number };
  segments: Record<Modality, number>;
  may_write: boolean;
  failed?: Failed[];
  disk_bytes?: number;
}

export interface Asset {
  id: string;
  name: string;
  media_type: string;
  medium: Medium;
  size: number;
  segments: number;
  state: string;
  thumbnail: string | null;
}

export interface Assets {
  assets: Asset[];
  next: string | null;
}

export interface JobResult {
  name: string;
  state: string;
  reason: string;
  segments: number;
}

export interface Job {
  id: string;
  base: string;
  state: string;
  done: number;
  total: number;
  current: string | null;
  results: JobResult[];
  error: string | null;
}

export type Part =
  | { type: 'text'; text: string }
  | { type: 'image_url'; image_url: { url: string } }
  | { type: 'input_audio'; input_audio: { data: string; format: string } };

/** A stored question and its answer. */
export interface Said {
  id: string;
  words: string;
  written: Written | null;
}

/** A chat in a list: first question, knowledge base, time of the last turn. */
export interface ChatSummary {
  id: string;
  exhibit: { title: string; model: string; turns: number; updated_at: number };
}

export interface Chats {
  data: ChatSummary[];
  has_more: boolean;
  last_id: string | null;
}
