import { useRef } from 'react';
import { type Block, Message } from 'slack-blocks-to-jsx';
import type { PageMessage, PageState } from '../state.ts';

type RawBlock = PageMessage['blocks'][number];

/** A button as netcheck sends it. */
type SlackButton = {
  readonly action_id: string;
  readonly value: string;
  readonly text: { readonly text: string };
  readonly style?: 'primary' | 'danger';
  readonly confirm?: Readonly<Record<'title' | 'text' | 'confirm' | 'deny', { readonly text: string }>>;
};

/** One message of netcheck's. What is no button is drawn by slack-blocks-to-jsx, whose buttons cannot be listened to. */
export function MessageView(props: {
  readonly message: PageMessage;
  readonly names: PageState['names'];
  readonly onPress: (action: string, value: string) => void;
  readonly isBare?: boolean;
}) {
  const { message, names, onPress, isBare = false } = props;
  const data = {
    users: Object.entries(names).map(([id, name]) => ({ id, name })),
    channels: Object.entries(names).map(([id, name]) => ({ id, name })),
  };
  return (
    <div className="message">
      {isBare ? null : (
        <p className="author">
          <strong>netcheck</strong> <span className="badge">APP</span>{' '}
          <time dateTime={new Date(message.time).toISOString()}>{new Date(message.time).toLocaleTimeString()}</time>
        </p>
      )}
      {message.blocks.map((block, index) =>
        block['type'] === 'actions' ? (
          <div className="actions" key={keyOf(block, index)}>
            {(block['elements'] as readonly SlackButton[]).map((button) => (
              <ActionButton key={button.action_id} button={button} onPress={onPress} />
            ))}
          </div>
        ) : (
          <Message key={keyOf(block, index)} blocks={[readable(block) as Block]} data={data} logo="" name="" withoutWrapper />
        ),
      )}
    </div>
  );
}

/** A block has no id of its own; one that changed is drawn anew, as the library keeps what it was first given. */
function keyOf(block: RawBlock, index: number): string {
  return `${index} ${JSON.stringify(block)}`;
}

/**
 * What the library has to be given so that it shows what Slack shows. In Slack `verbatim` only keeps links from being made,
 * the library takes it for "no markup at all"; and it takes the bytes of a MAC address between colons for emoji.
 */
function readable(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) => {
      if (key === 'verbatim') return undefined;
      return key === 'text' && typeof inner === 'string' ? inner.replace(/:(?=[0-9a-f]{2}\b)/g, ':\ufeff') : inner;
    }),
  );
}

function ActionButton(props: { readonly button: SlackButton; readonly onPress: (action: string, value: string) => void }) {
  const { action_id: action, value, text, style = 'plain', confirm } = props.button;
  const dialog = useRef<HTMLDialogElement>(null);
  const press = (): void => props.onPress(action, value);
  return (
    <>
      <button type="button" className={style} onClick={() => (confirm === undefined ? press() : dialog.current?.showModal())}>
        {text.text}
      </button>
      {confirm === undefined ? null : (
        <dialog
          ref={dialog}
          aria-label={confirm.title.text}
          onClose={() => {
            if (dialog.current?.returnValue === 'yes') press();
          }}
        >
          <form method="dialog">
            <h3>{confirm.title.text}</h3>
            <p>{confirm.text.text}</p>
            <button type="submit" value="yes" className={style}>
              {confirm.confirm.text}
            </button>
            <button type="submit" value="no">
              {confirm.deny.text}
            </button>
          </form>
        </dialog>
      )}
    </>
  );
}
