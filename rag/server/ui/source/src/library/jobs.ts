// Uploads of this tab, and what becomes of them; they go on while other views are shown.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import * as api from '../api';
import { freshId } from '../parts/ids';
import { asFailure } from '../parts/notice';
import type { Job } from '../types';

export interface Upload {
  key: string;
  base: string;
  files: string[];
  sent: number;
  job: Job | null;
  failure: api.Failure | null;
}

export interface Jobs {
  uploads: Upload[];
  start: (base: string, files: File[]) => void;
  cancel: (upload: Upload) => void;
  dismiss: (upload: Upload) => void;
}

const OVER = ['done', 'failed', 'cancelled', 'canceled'];

export function isOver({ job, failure }: Upload): boolean {
  return failure !== null || (job !== null && OVER.includes(job.state));
}

/** @param onTaken is called when files have come in. */
export function useJobs(onTaken: () => void): Jobs {
  const [uploads, setUploads] = useState<Upload[]>([]);
  const watching = useRef(new AbortController());
  useEffect(() => () => watching.current.abort(), []);
  const change = (key: string, to: Partial<Upload>) =>
    setUploads((all) => all.map((one) => (one.key === key ? { ...one, ...to } : one)));

  const start = useCallback(
    async (base: string, files: File[]) => {
      const key = freshId();
      setUploads((all) => [
        { key, base, files: files.map(({ name }) => name), sent: 0, job: null, failure: null },
        ...all,
      ]);
      try {
        const id = await api.upload(base, files, (sent) => change(key, { sent }));
        let done = 0;
        for await (const job of api.job(id, watching.current.signal)) {
          change(key, { job });
          if (job.done > done || OVER.includes(job.state)) onTaken();
          done = job.done;
          if (OVER.includes(job.state)) return;
        }
      } catch (error) {
        if (!watching.current.signal.aborted) change(key, { failure: asFailure(error) });
      }
    },
    [onTaken],
  );

  return {
    uploads,
    start: (base, files) => void start(base, files),
    cancel: ({ key, job }) => {
      if (job) api.cancel(job.id).catch((error: unknown) => change(key, { failure: asFailure(error) }));
    },
    dismiss: ({ key }) => setUploads((all) => all.filter((one) => one.key !== key)),
  };
}
