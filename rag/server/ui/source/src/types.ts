// What the server sends; `rag/server` is where it is made.

import type { Written } from './api';

export type Modality = 'text' | 'image' | 'audio' | 'video';
export const MODALITIES: Modality[] = ['text', 'image', 'audio', 'video'];
export type Medium = 'document' | 'image' | 'audio' | 'video';
export type View = 'marked' | 'crop' | 'thumbnail' | 'clip' | 'waveform' | 'text';
export type Views = Partial<Record<View, string>>;
/** A spoken word and the seconds of the whole recording at which it is said. */
export type Word = [text: string, start_s: number, end_s: number];

/** A place in the collection that can be shown: what an answer cites, or what a search finds. */
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
  /** Stems of what it is to show, where that is known: of a statement, or those that matched. */
  wanted?: string[];
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

/** A question that the server keeps, and its answer. */
export interface Said {
  id: string;
  words: string;
  written: Written | null;
}

/** A chat in a list: its first question, the knowledge base, and when something was last said. */
export interface ChatSummary {
  id: string;
  exhibit: { title: string; model: string; turns: number; updated_at: number };
}

export interface Chats {
  data: ChatSummary[];
  has_more: boolean;
  last_id: string | null;
}
