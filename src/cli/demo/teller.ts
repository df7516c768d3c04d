import { styleText } from 'node:util';
import { type BlocksStyle, displayWidth, layoutBlocks, paintLines } from '../../formatters/blocks-terminal.ts';

/** A message as it is told: `ts` tells it from others, `inThread` whether it stands under another one. */
export type ToldMessage = {
  readonly ts: string;
  readonly author: string;
  readonly isApp: boolean;
  readonly inThread: boolean;
  readonly blocks: readonly unknown[];
};

/** Where the story is told: a terminal, or a file or pipe that shows no colours and cannot be written over. */
export type Screen = {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  readonly color: boolean;
  readonly columns: number;
  readonly rows: number;
};

export type Teller = {
  /** A headline. */
  readonly chapter: (text: string) => void;
  /** What somebody does. */
  readonly act: (who: string, what: string) => void;
  /** What only one person is told. */
  readonly whisper: (who: string, text: string, ms: number) => void;
  /** What happened outside Slack, with how long it took in milliseconds. */
  readonly fact: (text: string, ms?: number) => void;
  /** What turned out not to be as it should. */
  readonly wrong: (text: string) => void;
  /** Shows a message, or what has changed about it. */
  readonly message: (message: ToldMessage) => void;
};

type Format = Parameters<typeof styleText>[0];

/** Tells a story: what happens in a channel as it happens, and what happens around it. */
export function createTeller(screen: Screen, nameOf: BlocksStyle['nameOf']): Teller {
  const shown = new Map<string, readonly string[]>();
  /** The message that was told last, as long as nothing else was, with how many lines it took. */
  let latest: { readonly ts: string; readonly lines: number } | null = null;
  const paint = (format: Format, text: string): string =>
    screen.color ? styleText(format, text, { validateStream: false }) : text;

  function say(lines: readonly string[]): void {
    latest = null;
    screen.write(`${lines.join('\n')}\n`);
  }

  function whole(message: ToldMessage): readonly string[] {
    const indent = message.inThread ? '      ' : '  ';
    const bar = `${indent}${paint(message.isApp ? 'magenta' : 'blue', '┃')} `;
    const columns = Math.min(screen.columns, 110) - displayWidth(indent) - 3;
    const badge = message.isApp ? ` ${paint('gray', 'APP')}` : '';
    const body = paintLines(layoutBlocks(message.blocks, { columns, nameOf }), screen.color);
    return [`${paint('bold', message.author)}${badge}`, ...body].map((line) => (bar + line).trimEnd());
  }

  return {
    chapter: (text) => say(['', paint(['bold', 'underline'], text)]),
    act: (who, what) => say(['', `${paint(['bold', 'cyan'], `▶ ${who}`)} ${what}`]),
    whisper: (who, text, ms) => {
      const lines = layoutBlocks([{ type: 'section', text: { text } }], { columns: Math.min(screen.columns, 110) - 4, nameOf });
      const note = paint('gray', `  only ${who} sees this, after ${Math.round(ms)} ms:`);
      say([note, ...paintLines(lines, screen.color).map((line) => `    ${line}`)]);
    },
    fact: (text, ms) => say([paint('gray', `  ${text}${ms === undefined ? '' : ` · ${seconds(ms)}`}`)]),
    wrong: (text) => say([paint(['bold', 'red'], `  ✘ ${text}`)]),
    message: (message) => {
      const lines = whole(message);
      const before = shown.get(message.ts);
      shown.set(message.ts, lines);
      if (before !== undefined && before.join('\n') === lines.join('\n')) return;
      const canRewrite = screen.isTerminal && latest?.ts === message.ts && latest.lines < screen.rows;
      if (latest !== null && canRewrite) {
        screen.write(`\u001b[${latest.lines}A\u001b[0J${lines.join('\n')}\n`);
        latest = { ts: message.ts, lines: lines.length };
        return;
      }
      const isContinued = latest?.ts === message.ts;
      const [head = '', ...body] = lines;
      const news = before === undefined ? body : body.filter((line) => !before.includes(line));
      if (before !== undefined && news.length === 0) return;
      const title = before === undefined ? [head] : isContinued ? [] : [`${head} ${paint('gray', '(edited)')}`];
      const told = [...(isContinued ? [] : ['']), ...title, ...news];
      screen.write(`${told.join('\n')}\n`);
      latest = { ts: message.ts, lines: told.length - (isContinued ? 0 : 1) };
    },
  };
}

/** `0.4 s`, `12.0 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
