import { useEffect, useState } from 'preact/hooks';
import { Trash2 } from 'lucide';
import * as api from '../api';
import { Dialog } from '../parts/dialog';
import { Icon } from '../parts/icon';
import { asFailure, Empty, Problem } from '../parts/notice';
import { count } from '../places';
import type { ChatSummary } from '../types';

interface Props {
  base: string;
  current: string;
  onOpen: (id: string) => void;
  onForgotten: (id: string) => void;
  onClose: () => void;
}

/** The stored chats. Each can be opened again and deleted. */
export function History({ base, current, onOpen, onForgotten, onClose }: Props) {
  const [chats, setChats] = useState<ChatSummary[] | null>(null);
  const [next, setNext] = useState('');
  const [failure, setFailure] = useState<api.Failure | null>(null);
  const failed = (error: unknown) => setFailure(asFailure(error));
  const load = async (after: string) => {
    setFailure(null);
    try {
      const page = await api.chats(after);
      const mine = page.data.filter(({ exhibit }) => exhibit.model === base && exhibit.turns > 0);
      setChats((before) => [...((after && before) || []), ...mine]);
      setNext((page.has_more && page.last_id) || '');
    } catch (error) {
      failed(error);
    }
  };
  useEffect(() => void load(''), []);
  const forget = async (id: string) => {
    try {
      await api.forgetChat(id);
      setChats((before) => before!.filter((chat) => chat.id !== id));
      onForgotten(id);
    } catch (error) {
      failed(error);
    }
  };
  return (
    <Dialog title="Chats" onClose={onClose}>
      <div class="grid gap-3">
        {failure && <Problem failure={failure} onRetry={chats ? undefined : () => void load('')} />}
        {!chats && !failure && <div class="skeleton h-40" role="status" aria-label="Loading" />}
        {chats?.length === 0 && !next && <Empty title="No chats yet">Your chats are kept here until you delete them.</Empty>}
        <ul class="grid gap-1" aria-label="Chats">
          {chats?.map((chat) => (
            <Row
              key={chat.id}
              chat={chat}
              isCurrent={chat.id === current}
              onOpen={() => onOpen(chat.id)}
              onForget={() => void forget(chat.id)}
            />
          ))}
        </ul>
        {next && (
          <button class="btn btn-sm justify-self-center" onClick={() => void load(next)}>
            Show earlier ones
          </button>
        )}
      </div>
    </Dialog>
  );
}

interface RowProps {
  chat: ChatSummary;
  isCurrent: boolean;
  onOpen: () => void;
  onForget: () => void;
}

function Row({ chat, isCurrent, onOpen, onForget }: RowProps) {
  const [isDoomed, setDoomed] = useState(false);
  const { title, turns, updated_at } = chat.exhibit;
  if (isDoomed) {
    return (
      <li class="chat-row items-center bg-base-200">
        <span class="min-w-0 flex-1 px-3 text-sm">Delete this chat for good?</span>
        <button class="btn btn-sm" ref={focused} onClick={() => setDoomed(false)}>
          Keep it
        </button>
        <button class="btn btn-error btn-sm" onClick={onForget}>
          Delete
        </button>
      </li>
    );
  }
  return (
    <li class="chat-row">
      <button
        class="min-w-0 flex-1 cursor-pointer px-3 py-2 text-start"
        aria-current={isCurrent ? 'true' : undefined}
        onClick={onOpen}
      >
        <span class="block truncate font-medium" dir="auto">
          {title}
        </span>
        <span class="text-soft block text-xs">{`${count(turns, 'question')} · ${when(updated_at)}`}</span>
      </button>
      <button class="btn btn-ghost btn-circle btn-sm" aria-label={`Delete ${title}`} onClick={() => setDoomed(true)}>
        <Icon of={Trash2} class="size-4" />
      </button>
    </li>
  );
}

function focused(button: HTMLButtonElement | null): void {
  button?.focus();
}

function when(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
