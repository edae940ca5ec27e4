import {
  AudioLines,
  BookOpenText,
  Clapperboard,
  FileText,
  Image,
  Images,
  Mic,
  Music,
  Video,
  type IconNode,
} from 'lucide';
import type { Medium, Modality, Shown } from '../types';

const NOUNS: Record<string, string> = {
  passage: 'Passage',
  figure: 'Figure',
  picture: 'Picture',
  speech: 'Speech',
  sound: 'Sound',
  frame: 'Video frame',
  moment: 'Moment of a video',
};

export const MODALITY_NAMES: Record<Modality, string> = {
  text: 'Text',
  image: 'Images',
  audio: 'Audio',
  video: 'Video',
};
export const MODALITY_ICONS: Record<Modality, IconNode> = {
  text: FileText,
  image: Image,
  audio: AudioLines,
  video: Video,
};
export const MEDIUM_ICONS: Record<Medium, IconNode> = {
  document: FileText,
  image: Image,
  audio: AudioLines,
  video: Video,
};

const ICONS: Record<string, IconNode> = {
  passage: BookOpenText,
  figure: Images,
  picture: Image,
  speech: Mic,
  sound: Music,
  frame: Video,
  moment: Clapperboard,
};

export function noun(shown: Shown): string {
  return NOUNS[shown.kind] ?? shown.kind;
}

export function icon(shown: Shown): IconNode {
  return ICONS[shown.kind] ?? FileText;
}

/** File and place, without character positions. */
export function titleOf(shown: Shown): string {
  return shown.title.replace(/^characters \d+–\d+ of /, '');
}

/** Alternative text of a picture. */
export function alt(shown: Shown): string {
  return shown.caption || [noun(shown), shown.tags.join(', ')].filter(Boolean).join(': ');
}
