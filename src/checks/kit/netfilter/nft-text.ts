/*
 * Rules of `nft -j` as `nft list ruleset` writes them, for people to recognise. What this does not know it shows as JSON.
 * Source: nft(8) and libnftables-json(5).
 */

type Expression = Readonly<Record<string, unknown>>;

/** The text of a rule from its statements. Counters are left out: they change while the rule stays the same. */
export function ruleText(statements: readonly unknown[], comment?: string): string {
  return [...statements.map(statementText), ...(comment === undefined ? [] : [`comment "${comment}"`])]
    .filter((text) => text !== '')
    .join(' ');
}

function isObject(value: unknown): value is Expression {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function statementText(statement: unknown): string {
  if (!isObject(statement)) return text(statement);
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
      return `${kind} ${of['target']}`;
    case 'reject':
      return `reject${of['type'] === undefined ? '' : ` with ${of['type']}`}${of['expr'] === undefined ? '' : ` ${of['expr']}`}`;
    case 'vmap':
      return `${expressionText(of['key'])} vmap ${expressionText(of['data'])}`;
    case 'mangle':
      return `${expressionText(of['key'])} set ${expressionText(of['value'], isMark(of['key']))}`;
    case 'limit':
      return typeof body === 'string' ? `limit name "${body}"` : limitText(of);
    case 'log':
      return ['log', ...(of['prefix'] === undefined ? [] : [`prefix "${of['prefix']}"`]), ...named(of, ['group', 'level'])].join(
        ' ',
      );
    case 'set':
      return setText(of);
    case 'dnat':
    case 'snat':
    case 'redirect':
    case 'masquerade':
      return translationText(kind, of);
    case 'fwd':
      return `fwd to "${of['dev']}"`;
    case 'dup':
      return `dup to "${of['addr']}"`;
    case 'xt':
      return `xt ${of['type']} ${of['name']}`;
    case 'quota':
      return typeof body === 'string'
        ? `quota name "${body}"`
        : `quota ${of['inv'] === true ? 'over ' : ''}${of['val']} ${of['val_unit']}`;
    case 'ct count':
      return `ct count ${of['inv'] === true ? 'over ' : ''}${of['val']}`;
    default:
      return JSON.stringify(statement);
  }
}

function named(of: Expression, names: readonly string[]): string[] {
  return names.flatMap((name) => (of[name] === undefined ? [] : [`${name} ${of[name]}`]));
}

function matchText({ op, left, right }: Expression): string {
  const value = expressionText(right, isMark(left), isBare(left));
  const flags = isObject(left) && Array.isArray(left['&']) ? left['&'] : [];
  if (isObject(flags[0]) && isObject(flags[0]['payload']) && Array.isArray(flags[1])) {
    return `${expressionText(flags[0])} ${op === '!=' ? '!= ' : ''}${value} / ${flags[1].join(',')}`;
  }
  // nft leaves the operator out where it is the natural one; a masked value always has it
  const plain = op === '==' || op === 'in';
  return `${expressionText(left)} ${plain && !(isObject(left) && '&' in left) ? '' : `${op === 'in' ? '==' : op} `}${value}`;
}

function limitText(of: Expression): string {
  const unit = of['rate_unit'] === undefined ? '' : ` ${of['rate_unit']}`;
  return `limit rate ${of['inv'] === true ? 'over ' : ''}${of['rate']}${unit}/${of['per']}`;
}

function setText(of: Expression): string {
  const statements = Array.isArray(of['stmt']) ? ` ${ruleText(of['stmt'])}` : '';
  return `${of['op']} ${of['set']} { ${expressionText(of['elem'])}${statements} }`;
}

function translationText(kind: string, of: Expression): string {
  const family = of['family'] === undefined ? '' : ` ${of['family']}`;
  const port = of['port'] === undefined ? '' : `:${expressionText(of['port'])}`;
  const to =
    of['addr'] === undefined && port === ''
      ? ''
      : `${family} to ${of['addr'] === undefined ? '' : expressionText(of['addr'])}${port}`;
  return `${kind}${to}${of['flags'] === undefined ? '' : ` ${[of['flags']].flat().join(',')}`}`;
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
  if (!isObject(expression)) return text(expression);
  const [kind = '', body] = Object.entries(expression)[0] ?? [];
  const of = isObject(body) ? body : {};
  const list = Array.isArray(body) ? body : [];
  switch (kind) {
    case 'set':
      return `{ ${list.map((element) => (Array.isArray(element) ? `${inner(element[0])} : ${statementText(element[1])}` : inner(element))).join(', ')} }`;
    case 'concat':
      return list.map((part) => (isObject(part) && 'meta' in part ? expressionText(part) : inner(part))).join(' . ');
    case 'prefix':
      return `${of['addr']}/${of['len']}`;
    case 'range':
      return list.map(inner).join('-');
    case 'elem':
      return inner(of['val']);
    case '&':
    case '|':
    case '^':
      return list.map((part) => expressionText(part, mark || isMark(list[0]), bare)).join(` ${kind} `);
    case 'meta':
      return UNPREFIXED.has(String(of['key'])) ? String(of['key']) : `meta ${of['key']}`;
    case 'ct':
      return `ct ${of['dir'] === undefined ? '' : `${of['dir']} `}${of['key']}`;
    case 'payload':
      return of['base'] === undefined ? `${of['protocol']} ${of['field']}` : `@${of['base']},${of['offset']},${of['len']}`;
    case 'fib':
      return `fib ${[of['flags']].flat().join(' . ')} ${of['result']}`;
    case 'map':
      return `${expressionText(of['key'])} map ${expressionText(of['data'])}`;
    case 'numgen':
      return `numgen ${of['mode']} mod ${of['mod']}${of['offset'] === 0 ? '' : ` offset ${of['offset']}`}`;
    default:
      return JSON.stringify(expression);
  }
}

const UNPREFIXED = new Set(['iif', 'oif', 'iifname', 'oifname', 'iifgroup', 'oifgroup']);

function text(value: unknown): string {
  if (value === false) return 'missing';
  return value === true ? 'exists' : String(value);
}
