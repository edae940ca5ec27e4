let made = 0;

/** An id that no other has in this browser; `crypto.randomUUID` is there only on secure addresses. */
export function freshId(): string {
  made += 1;
  return `${Date.now().toString(36)}-${made}`;
}
