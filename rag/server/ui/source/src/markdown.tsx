// Renders the Markdown of an answer as elements. It never becomes HTML: unknown tokens are shown as text, so that
// instructions from a document cannot do harm.

import type { ComponentChildren, VNode } from 'preact';
import { lexer, type Token, type Tokens } from 'marked';

/** Turns the number in `[1]`, of which it is the nth from 0, into a button for the exhibit. */
export type Cite = (number: number, nth: number) => VNode | null;

// An answer ends with its pictures and link definitions, and its doubts are signs or lines at the end (see
// `rag/server/openai/markdown.py`). The page shows all of these in its own way.
const APPENDIX = /^(?:!\[.*\]\(.*\)|\[\d{1,3}\]: .*|[?⇄≠✗] \[\d{1,3}\] .*)$| \[[?⇄≠✗]\]\(\S+ "[^"]*"\)/gm;
const NUMBER = /\[(\d{1,3})\]/;

type Counted = (number: number) => VNode | null;

export function withoutAppendix(text: string): string {
  return text.replace(APPENDIX, '').trim();
}

export function Markdown({ text, cite }: { text: string; cite: Cite }) {
  const seen = new Map<number, number>();
  const counted = (number: number) => {
    const nth = seen.get(number) ?? 0;
    seen.set(number, nth + 1);
    return cite(number, nth);
  };
  return <>{blocks(lexer(withoutAppendix(text)), counted)}</>;
}

function blocks(tokens: Token[], cite: Counted): ComponentChildren {
  return tokens.map((token) => shown(token, cite));
}

function shown(token: Token, cite: Counted): ComponentChildren {
  const inner = () => blocks((token as Tokens.Generic).tokens ?? [], cite);
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'paragraph':
      return <p dir="auto">{inner()}</p>;
    case 'heading':
      return <h2 dir="auto">{inner()}</h2>;
    case 'strong':
      return <strong>{inner()}</strong>;
    case 'em':
      return <em>{inner()}</em>;
    case 'del':
      return <del>{inner()}</del>;
    case 'blockquote':
      return <blockquote dir="auto">{inner()}</blockquote>;
    case 'code':
      return (
        <pre>
          <code>{token.text}</code>
        </pre>
      );
    case 'codespan':
      return <code>{token.text}</code>;
    case 'br':
      return <br />;
    case 'hr':
      return <hr />;
    case 'list':
      return list(token as Tokens.List, cite);
    case 'table':
      return table(token as Tokens.Table, cite);
    case 'text':
      return (token as Tokens.Text).tokens ? inner() : words(token.text, cite);
    case 'escape':
      return token.text;
    default: // links, pictures and HTML that a model wrote
      return words(token.raw, cite);
  }
}

function list(token: Tokens.List, cite: Counted): VNode {
  const items = token.items.map((item) => <li>{blocks(item.tokens, cite)}</li>);
  return token.ordered ? (
    <ol dir="auto" start={Number(token.start) || 1}>
      {items}
    </ol>
  ) : (
    <ul dir="auto">{items}</ul>
  );
}

function table(token: Tokens.Table, cite: Counted): VNode {
  const head = token.header.map((cell) => <th>{blocks(cell.tokens, cite)}</th>);
  const rows = token.rows.map((row) => (
    <tr>
      {row.map((cell) => (
        <td>{blocks(cell.tokens, cite)}</td>
      ))}
    </tr>
  ));
  return (
    <table dir="auto">
      <thead>
        <tr>{head}</tr>
      </thead>
      <tbody>{rows}</tbody>
    </table>
  );
}

function words(text: string, cite: Counted): ComponentChildren {
  return text.split(NUMBER).map((piece, n) => (n % 2 ? cite(Number(piece)) : piece));
}
