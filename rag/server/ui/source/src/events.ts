/** Yields the data of server-sent events, without the comments that only keep the connection open. */
export async function* events(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      held += done ? '\n\n' : value;
      const blocks = held.split(/\r?\n\r?\n/);
      held = blocks.pop() ?? '';
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line.startsWith('data:'));
        if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n');
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {}); // the reader may stop before the end
  }
}
