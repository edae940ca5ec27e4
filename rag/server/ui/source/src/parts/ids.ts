let made = 0;

/** An id unique in this browser. `crypto.randomUUID` exists only on secure addresses. */
export function freshId(): string {
  made += 1;
  return `${Date.now().toString(36)}-${made}`;
}
