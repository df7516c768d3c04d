/*
 * Rules of `nft -j` as `nft list ruleset` writes them, for people to recognise. What this does not know it shows as JSON.
 * Source: nft(8) and libnftables-json(5).
 */

/** A statement or expression of `nft -j`: an object whose first key says what it is. */
export type Expression = Readonly<Record<string, unknown>>;

/** The text of a rule from its statements. Counters are left out: they change while the rule stays the same. */
export function ruleText(statements: readonly unknown[], comment?: string): string {
  return [...statements.map(statementText), ...(comment === undefined ? [] : [`comment "${comment}"`])]
    .filter((text) => text !== '')
    .join(' ');
}

/** Whether a piece of JSON is an object. */
export function isObject(value: unknown): value is Expression {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function statementText(statement: unknown): string {
  if (!isObject(statement)) return word(statement);
  const [kind = '', body] = Object.entries(statement)[0] ?? [];
  const of = isObject(body) ? body : {};
  switch (kind) {
    case 'counter':
      return typeof body === 'string' ? `counter name "${body}"` : 'counter';
    case 'match':
      return matchText(of);
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'notrack':
      return kind;
    case 'jump':
    case 'goto':
      return `${kind} ${word(of['target'])}`;
    case 'reject':
      return rejectText(of);
    case 'vmap':
      return `${expressionText(of['key'])} vmap ${expressionText(of['data'])}`;
    case 'mangle':
      return `${expressionText(of['key'])} set ${expressionText(of['value'], isMark(of['key']))}`;
    case 'limit':
      return typeof body === 'string' ? `limit name "${body}"` : limitText(of);
    case 'log':
      return [
        'log',
        ...(of['prefix'] === undefined ? [] : [`prefix "${word(of['prefix'])}"`]),
        ...named(of, ['group', 'level']),
      ].join(' ');
    case 'set':
      return setText(of);
    case 'meter':
      return `meter ${word(of['name'])} { ${expressionText(of['key'])} ${ruleText([of['stmt']])} }`;
    case 'dnat':
    case 'snat':
    case 'redirect':
    case 'masquerade':
      return translationText(kind, of);
    case 'fwd':
      return `fwd to "${word(of['dev'])}"`;
    case 'dup':
      return `dup to "${word(of['addr'])}"`;
    case 'xt':
      return `xt ${word(of['type'])} ${word(of['name'])}`;
    case 'quota':
      return typeof body === 'string'
        ? `quota name "${body}"`
        : `quota ${of['inv'] === true ? 'over ' : ''}${word(of['val'])} ${word(of['val_unit'])}`;
    case 'ct count':
      return `ct count ${of['inv'] === true ? 'over ' : ''}${word(of['val'])}`;
    default:
      return JSON.stringify(statement);
  }
}

function rejectText({ type, expr }: Expression): string {
  const isDefault = type === undefined || (type === 'icmpx' && expr === 'port-unreachable');
  return isDefault ? 'reject' : `reject with ${word(type)}${expr === undefined ? '' : ` ${word(expr)}`}`;
}

function named(of: Expression, names: readonly string[]): string[] {
  return names.flatMap((name) => (of[name] === undefined ? [] : [`${name} ${word(of[name])}`]));
}

function matchText({ op, left, right }: Expression): string {
  const value = expressionText(right, isMark(left), isBare(left));
  const flags = isObject(left) && Array.isArray(left['&']) ? left['&'] : [];
  if (isObject(flags[0]) && isObject(flags[0]['payload']) && Array.isArray(flags[1])) {
    return `${expressionText(flags[0])} ${op === '!=' ? '!= ' : ''}${value} / ${flags[1].join(',')}`;
  }
  // nft leaves the operator out where it is the natural one; a masked value always has it
  const plain = op === '==' || op === 'in';
  return `${expressionText(left)} ${plain && !(isObject(left) && '&' in left) ? '' : `${op === 'in' ? '==' : word(op)} `}${value}`;
}

function limitText(of: Expression): string {
  const unit = of['rate_unit'] === undefined ? '' : ` ${word(of['rate_unit'])}`;
  return `limit rate ${of['inv'] === true ? 'over ' : ''}${word(of['rate'])}${unit}/${word(of['per'])}`;
}

function setText(of: Expression): string {
  const statements = Array.isArray(of['stmt']) ? ` ${ruleText(of['stmt'])}` : '';
  return `${word(of['op'])} ${word(of['set'])} { ${expressionText(of['elem'])}${statements} }`;
}

function translationText(kind: string, of: Expression): string {
  const family = of['family'] === undefined ? '' : ` ${word(of['family'])}`;
  const port = of['port'] === undefined ? '' : `:${expressionText(of['port'])}`;
  const to =
    of['addr'] === undefined && port === ''
      ? ''
      : `${family} to ${of['addr'] === undefined ? '' : expressionText(of['addr'])}${port}`;
  return `${kind}${to}${of['flags'] === undefined ? '' : ` ${[of['flags']].flat().map(word).join(',')}`}`;
}

/** Whether a value is a mark, which nft writes as eight hexadecimal digits. */
function isMark(expression: unknown): boolean {
  if (!isObject(expression)) return false;
  const [kind, body] = Object.entries(expression)[0] ?? [];
  if (kind === '&' || kind === '|' || kind === '^') return Array.isArray(body) && isMark(body[0]);
  return (kind === 'meta' || kind === 'ct') && isObject(body) && body['key'] === 'mark';
}

const DEVICE_KEYS = new Set([
  'iif',
  'oif',
  'iifname',
  'oifname',
  'ibrname',
  'obrname',
  'sdifname',
  'iifgroup',
  'oifgroup',
  'hour',
  'day',
  'time',
]);

/** Whether words on the right side stand without quotes: all but the names of devices and times. */
function isBare(expression: unknown): boolean {
  if (!isObject(expression)) return true;
  if (Array.isArray(expression['concat'])) return expression['concat'].every(isBare);
  const meta = expression['meta'];
  return !(isObject(meta) && DEVICE_KEYS.has(String(meta['key'])));
}

function expressionText(expression: unknown, mark = false, bare = true): string {
  const inner = (value: unknown): string => expressionText(value, mark, bare);
  if (typeof expression === 'number' && mark) return `0x${expression.toString(16).padStart(8, '0')}`;
  if (typeof expression === 'string' && !bare && !expression.startsWith('@')) return `"${expression}"`;
  if (Array.isArray(expression)) return expression.map(inner).join(',');
  if (!isObject(expression)) return word(expression);
  const [kind = '', body] = Object.entries(expression)[0] ?? [];
  const of = isObject(body) ? body : {};
  const list = Array.isArray(body) ? body : [];
  switch (kind) {
    case 'set':
      return `{ ${list.map((element) => (Array.isArray(element) ? `${inner(element[0])} : ${statementText(element[1])}` : inner(element))).join(', ')} }`;
    case 'concat':
      return list.map((part) => (isObject(part) && 'meta' in part ? expressionText(part) : inner(part))).join(' . ');
    case 'prefix':
      return `${word(of['addr'])}/${word(of['len'])}`;
    case 'range':
      return list.map(inner).join('-');
    case 'elem':
      return inner(of['val']);
    case '&':
    case '|':
    case '^':
      return list.map((part) => expressionText(part, mark || isMark(list[0]), bare)).join(` ${kind} `);
    case 'meta':
      return UNPREFIXED.has(String(of['key'])) ? String(of['key']) : `meta ${word(of['key'])}`;
    case 'ct':
      return `ct ${of['dir'] === undefined ? '' : `${word(of['dir'])} `}${word(of['key'])}`;
    case 'payload':
      return of['base'] === undefined
        ? `${word(of['protocol'])} ${word(of['field'])}`
        : `@${word(of['base'])},${word(of['offset'])},${word(of['len'])}`;
    case 'fib':
      return `fib ${[of['flags']].flat().map(word).join(' . ')} ${word(of['result'])}`;
    case 'map':
      return `${expressionText(of['key'])} map ${expressionText(of['data'])}`;
    case 'tcp option':
      return `tcp option ${word(of['name'])} ${word(of['field'])}`;
    case 'rt':
      return `rt ${word(of['key'])}`;
    case 'numgen':
      return `numgen ${word(of['mode'])} mod ${word(of['mod'])}${of['offset'] === 0 ? '' : ` offset ${word(of['offset'])}`}`;
    default:
      return JSON.stringify(expression);
  }
}

const UNPREFIXED = new Set(['iif', 'oif', 'iifname', 'oifname', 'iifgroup', 'oifgroup']);

function word(value: unknown): string {
  if (typeof value === 'string') return value;
  // a lookup that finds something, or does not
  if (typeof value === 'boolean') return value ? 'exists' : 'missing';
  return JSON.stringify(value);
}
