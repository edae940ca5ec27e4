// Pictures and recordings of a question.

import { Failure } from '../api';
import { freshId } from '../parts/ids';
import type { Part } from '../types';

export const MOST_MEDIA = 8;
const MOST_BYTES = 22_000_000; // of all together; a request holds 32 MB, and base64 makes them a third longer

export interface Attached {
  id: string;
  name: string;
  kind: 'image' | 'audio';
  url: string;
  file: File;
}

/** Adds files to the attachments.
 * @throws Failure: a file is no picture or recording, or they are too many or too large.
 */
export function attach(files: File[], before: Attached[]): Attached[] {
  const added = files.map((file) => {
    const kind = file.type.split('/')[0];
    if (kind !== 'image' && kind !== 'audio') {
      throw new Failure(
        0,
        `“${file.name}” is neither a picture nor a recording. Files for the collection go to Library.`,
      );
    }
    return { id: freshId(), name: file.name, kind, url: '', file } satisfies Attached;
  });
  const all = [...before, ...added];
  if (all.length > MOST_MEDIA) throw new Failure(0, `A question can have at most ${MOST_MEDIA} pictures and recordings.`);
  if (all.reduce((sum, { file }) => sum + file.size, 0) > MOST_BYTES) {
    throw new Failure(0, 'The pictures and recordings of a question can have at most 22 MB in total.');
  }
  return all.map((one) => (one.url ? one : { ...one, url: URL.createObjectURL(one.file) }));
}

/** A question in the server's form. */
export async function parts(words: string, attached: Attached[]): Promise<string | Part[]> {
  if (!attached.length) return words;
  const media = await Promise.all(attached.map(part));
  return words ? [{ type: 'text', text: words }, ...media] : media;
}

async function part({ kind, file }: Attached): Promise<Part> {
  const url = await dataUrl(file);
  if (kind === 'image') return { type: 'image_url', image_url: { url } };
  const format = file.type.split('/')[1]?.split(';')[0] ?? 'wav';
  return { type: 'input_audio', input_audio: { data: url.slice(url.indexOf(',') + 1), format } };
}

function dataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Failure(0, `“${file.name}” cannot be read.`));
    reader.readAsDataURL(file);
  });
}
