// Files that are being added to a knowledge base: by this tab, and unfinished ones from elsewhere.

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
  isAway: boolean;
  failure: api.Failure | null;
}

export interface Jobs {
  uploads: Upload[];
  start: (base: string, files: File[]) => void;
  find: (base: string) => void;
  cancel: (upload: Upload) => void;
  dismiss: (upload: Upload) => void;
}

const OVER = ['done', 'failed', 'cancelled'];
const PASSING = [0, 429, 503]; // statuses of a server that is unreachable or overloaded
const AGAIN_MS = 3000; // between attempts to reach the server

export function isOver({ job, failure }: Upload): boolean {
  return failure !== null || (job !== null && OVER.includes(job.state));
}

/** @param onAdded is called when files have been added. */
export function useJobs(onAdded: () => void): Jobs {
  const [uploads, setUploads] = useState<Upload[]>([]);
  const watching = useRef(new AbortController());
  const known = useRef(new Set<string>());
  useEffect(() => () => watching.current.abort(), []);
  const add = (upload: Upload) => setUploads((all) => [upload, ...all]);
  const change = (key: string, to: Partial<Upload>) =>
    setUploads((all) => all.map((one) => (one.key === key ? { ...one, ...to } : one)));

  /** Follows a job until it is over. A restarted server continues its jobs. */
  const watch = async (key: string, id: string) => {
    const { signal } = watching.current;
    known.current.add(id);
    for (let done = 0; !signal.aborted; ) {
      try {
        for await (const job of api.job(id, signal)) {
          change(key, { job, isAway: false });
          if (job.done > done || OVER.includes(job.state)) onAdded();
          done = job.done;
          if (OVER.includes(job.state)) return;
        }
      } catch (error) {
        const failure = asFailure(error);
        if (signal.aborted) return;
        if (!PASSING.includes(failure.status)) return change(key, { failure });
      }
      change(key, { isAway: true });
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  };

  const start = async (base: string, files: File[]) => {
    const key = freshId();
    add({ key, base, files: files.map(({ name }) => name), sent: 0, job: null, isAway: false, failure: null });
    try {
      const id = await api.upload(base, files, (sent) => change(key, { sent }));
      setUploads((all) => all.filter((one) => one.key !== id)); // `find` may have added it meanwhile
      await watch(key, id);
    } catch (error) {
      change(key, { failure: asFailure(error) });
    }
  };

  const find = useCallback(async (base: string) => {
    const jobs = await api.jobs(base).catch(() => []); // the list of files shows the error
    for (const job of jobs) {
      if (OVER.includes(job.state) || known.current.has(job.id)) continue;
      const files = Array<string>(job.total).fill(job.current || 'File'); // their names arrive one by one
      add({ key: job.id, base, files, sent: 1, job, isAway: false, failure: null });
      void watch(job.id, job.id);
    }
  }, []);

  return {
    uploads,
    start: (base, files) => void start(base, files),
    find: useCallback((base) => void find(base), []),
    cancel: ({ key, job }) => {
      if (job) api.cancel(job.id).catch((error: unknown) => change(key, { failure: asFailure(error) }));
    },
    dismiss: ({ key }) => setUploads((all) => all.filter((one) => one.key !== key)),
  };
}
