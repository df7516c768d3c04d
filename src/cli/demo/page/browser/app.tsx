import 'slack-blocks-to-jsx/dist/style.css';
import './app.css';
import { StrictMode, useEffect, useId, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { PageAnswer, PageRequest, PageState } from '../state.ts';
import { MessageView } from './message.tsx';

/** What only one person was told, in answer to something that they did. */
type Whisper = { readonly id: number; readonly by: string; readonly text: string };

const SUGGESTIONS = ['/netcheck cluster', '/netcheck node node-3', '/netcheck status', '/netcheck help'];

function App() {
  const { state, isConnected } = usePageState();
  const [by, setBy] = useState<string | null>(null);
  const [whispers, setWhispers] = useState<readonly Whisper[]>([]);
  const person = by ?? state?.people[0] ?? '';

  function tell(who: string, text: string): void {
    setWhispers((before) => [...before.slice(-1), { id: Date.now() + Math.random(), by: who, text }]);
  }

  async function ask(request: PageRequest): Promise<void> {
    try {
      const reply = await fetch('/do', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
      });
      if (!reply.ok) return tell(person, await reply.text());
      const { said, form } = (await reply.json()) as PageAnswer;
      if (said !== null) tell(person, said);
      if (form === null) return;
      const text = window.prompt(`${form.title}\n\n${form.label}`);
      const { callback, metadata } = form;
      if (text !== null) await ask({ kind: 'submit', by: person, callback, metadata, text });
    } catch {
      tell(person, 'The demo does not answer: it has ended.');
    }
  }

  if (state === null) return <p className="waiting">Connecting …</p>;
  return (
    <div className="page">
      <header>
        <h1>netcheck demo</h1>
        <p>{state.network}</p>
        {isConnected ? null : (
          <p role="alert" className="lost">
            The demo has ended. What you see is how it was last.
          </p>
        )}
      </header>
      <main>
        <h2>#{state.channel}</h2>
        <Channel state={state} onPress={(action, value) => void ask({ kind: 'click', by: person, action, value })} />
        <Whispers
          whispers={whispers}
          names={state.names}
          onDismiss={(id) => setWhispers((before) => before.filter((whisper) => whisper.id !== id))}
        />
        <Composer onSend={(text) => void ask({ kind: 'command', by: person, text })} />
      </main>
      <aside>
        <People people={state.people} person={person} onChoose={setBy} />
        <Faults state={state} onToggle={(kind, fault) => void ask({ kind, fault })} />
      </aside>
    </div>
  );
}

/** The state as the server last sent it. It sends all of it, again whenever the connection comes back. */
function usePageState(): { readonly state: PageState | null; readonly isConnected: boolean } {
  const [state, setState] = useState<PageState | null>(null);
  const [isConnected, setConnected] = useState(true);
  useEffect(() => {
    const events = new EventSource('/events');
    events.addEventListener('message', ({ data }: MessageEvent<string>) => {
      setState(JSON.parse(data) as PageState);
      setConnected(true);
    });
    events.addEventListener('error', () => setConnected(false));
    return () => events.close();
  }, []);
  return { state, isConnected };
}

function Channel({ state, onPress }: { readonly state: PageState; readonly onPress: (action: string, value: string) => void }) {
  const end = useRef<HTMLDivElement>(null);
  const newest = state.threads.at(-1);
  const mark = `${newest?.root.ts} ${newest?.replies.length}`;
  useEffect(() => {
    end.current?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  }, [mark]);
  return (
    <div className="channel" role="log" aria-label={`Messages in ${state.channel}`} tabIndex={0}>
      {state.threads.map(({ root, replies }) => (
        <article key={root.ts}>
          <MessageView message={root} names={state.names} onPress={onPress} />
          {replies.length === 0 ? null : (
            <details open>
              <summary>
                {replies.length} {replies.length === 1 ? 'reply' : 'replies'}
              </summary>
              {replies.map((reply) => (
                <MessageView key={reply.ts} message={reply} names={state.names} onPress={onPress} />
              ))}
            </details>
          )}
        </article>
      ))}
      {state.threads.length === 0 ? <p className="empty">Nothing was said yet. Type /netcheck cluster.</p> : null}
      <div ref={end} />
    </div>
  );
}

function Whispers(props: {
  readonly whispers: readonly Whisper[];
  readonly names: PageState['names'];
  readonly onDismiss: (id: number) => void;
}) {
  return (
    <div className="whispers" role="status">
      {props.whispers.map(({ id, by, text }) => (
        <div key={id} className="whisper">
          <p className="small">Only {by} sees this</p>
          <MessageView
            message={{ ts: String(id), time: 0, blocks: [{ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } }] }}
            names={props.names}
            onPress={() => undefined}
            isBare
          />
          <button type="button" className="dismiss" onClick={() => props.onDismiss(id)} aria-label="Dismiss">
            ×
          </button>
        </div>
      ))}
    </div>
  );
}

function Composer({ onSend }: { readonly onSend: (text: string) => void }) {
  const [text, setText] = useState('');
  const [field, list] = [useId(), useId()];
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() === '') return;
        onSend(text);
        setText('');
      }}
    >
      <label htmlFor={field}>Command</label>
      <input
        id={field}
        list={list}
        value={text}
        placeholder="/netcheck cluster"
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setText(event.target.value)}
      />
      <datalist id={list}>
        {SUGGESTIONS.map((suggestion) => (
          <option key={suggestion} value={suggestion} />
        ))}
      </datalist>
      <button type="submit">Send</button>
    </form>
  );
}

function People(props: {
  readonly people: readonly string[];
  readonly person: string;
  readonly onChoose: (person: string) => void;
}) {
  return (
    <fieldset>
      <legend>You are</legend>
      {props.people.map((name) => (
        <label key={name}>
          <input type="radio" name="person" checked={name === props.person} onChange={() => props.onChoose(name)} /> {name}
        </label>
      ))}
      <p className="small">Both may approve a remedy, but not one that they requested themselves.</p>
    </fieldset>
  );
}

function Faults({
  state,
  onToggle,
}: {
  readonly state: PageState;
  readonly onToggle: (kind: 'inject' | 'heal', fault: string) => void;
}) {
  return (
    <section className="faults" aria-labelledby="faults">
      <h2 id="faults">Break something</h2>
      <p className="small" role="status">
        {state.busy === null ? 'Put in a fault, then type /netcheck cluster.' : `${state.busy} …`}
      </p>
      <ul>
        {state.faults.map(({ name, title, isActive }) => (
          <li key={name}>
            <div>
              <code>{name}</code>
              <p className="small">{title}</p>
            </div>
            <button
              type="button"
              disabled={state.busy !== null}
              onClick={() => onToggle(isActive ? 'heal' : 'inject', name)}
              aria-label={`${isActive ? 'Take out' : 'Put in'} ${name}`}
            >
              {isActive ? 'Take out' : 'Put in'}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

const root = document.getElementById('app');
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
