// Renders the server's OpenAPI document, as far as that document goes: what it does not use is not known here.

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** What `$ref` leads to, or the value itself. */
export function resolve(document_, value) {
  let found = value;
  for (let depth = 0; typeof found?.$ref === 'string' && depth < 8; depth += 1) {
    const path = found.$ref.replace(/^#\//, '').split('/');
    found = path.reduce((at, key) => at?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], document_);
  }
  return found ?? {};
}

/** A schema in one line, e.g. `array of Stream`. */
export function typeOf(schema) {
  if (!schema || typeof schema !== 'object') return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(' or ');
  const type = [schema.type ?? 'anything'].flat().join(' or ');
  if (type === 'array') return `array of ${typeOf(schema.items) || 'anything'}`;
  if (type === 'object' && schema.properties) {
    const members = Object.entries(schema.properties).map(([name, each]) => `${name}: ${typeOf(each)}`);
    return `{ ${members.join(', ')} }`;
  }
  return type;
}

/** The operations by tag: `[{tag, description, operations}]`. HEAD and OPTIONS are not listed. */
export function arrange(document_) {
  const groups = (document_.tags ?? []).map(({ name, description = '' }) => ({ tag: name, description, operations: [] }));
  for (const [path, item] of Object.entries(document_.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const tag = operation.tags?.[0] ?? 'Others';
      let group = groups.find((each) => each.tag === tag);
      if (!group) groups.push((group = { tag, description: '', operations: [] }));
      group.operations.push({
        method,
        path,
        id: operation.operationId ?? `${method} ${path}`,
        summary: operation.summary ?? '',
        description: operation.description ?? '',
        needsToken: (operation.security ?? document_.security ?? []).length > 0,
        parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((each) => resolve(document_, each)),
        bodies: contents(resolve(document_, operation.requestBody)),
        responses: Object.entries(operation.responses ?? {}).map(([status, each]) => {
          const response = resolve(document_, each);
          const headers = Object.entries(response.headers ?? {});
          return {
            status,
            description: response.description ?? '',
            headers: headers.map(([name, header]) => [name, resolve(document_, header).description ?? '']),
            bodies: contents(response),
          };
        }),
      });
    }
  }
  return groups.filter(({ operations }) => operations.length > 0);
}

function contents({ content = {} }) {
  return Object.entries(content).map(([mediaType, { schema, example }]) => ({ mediaType, type: typeOf(schema), example }));
}

/** Draws the document into `root`. */
export function draw(root, document_, { document } = globalThis) {
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children.map((each) => (typeof each === 'string' ? text(document, each) : each)));
    return element;
  };
  const groups = arrange(document_);
  const schemas = Object.entries(document_.components?.schemas ?? {});
  const { title = '', version = '', description = '' } = document_.info ?? {};
  const anchors = [...groups.map(({ tag }) => tag), 'Schemas'];
  root.replaceChildren(
    make('h1', {}, `${title} ${version}: HTTP API`),
    prose(make, description),
    make('nav', { 'aria-label': 'Groups' }, ...anchors.map((each) => make('a', { href: `#${each}` }, each))),
    ...groups.map((group) => section(make, group)),
    make('section', { id: 'Schemas' }, make('h2', {}, 'Schemas'), ...schemas.map(([name, schema]) => schemaDetails(make, name, schema))),
  );
}

function section(make, { tag, description, operations }) {
  return make('section', { id: tag }, make('h2', {}, tag), make('p', { class: 'hint' }, description),
    ...operations.map((operation) => details(make, operation)));
}

function details(make, operation) {
  const inside = make('div', { class: 'inside' });
  if (operation.description) inside.append(prose(make, operation.description));
  if (!operation.needsToken) inside.append(make('p', { class: 'hint' }, 'Asks for no token.'));
  if (operation.parameters.length > 0) {
    const rows = operation.parameters.flatMap(({ name, in: where, required, description = '', schema }) => [
      make('dt', {}, make('code', {}, name)),
      make('dd', {}, make('span', { class: 'hint' }, `${where}, ${typeOf(schema)}${required ? '' : ', optional'}`), prose(make, description)),
    ]);
    inside.append(make('h3', {}, 'Parameters'), make('dl', {}, ...rows));
  }
  for (const body of operation.bodies) inside.append(make('h3', {}, 'Body'), bodyOf(make, body));
  const rows = operation.responses.flatMap(({ status, description, headers, bodies }) => [
    make('dt', {}, make('code', {}, status)),
    make('dd', {}, prose(make, description),
      ...headers.map(([name, what]) => make('span', {}, make('code', {}, name), ` ${what}`)),
      ...bodies.filter(({ mediaType }) => mediaType !== 'application/problem+json').map((body) => bodyOf(make, body))),
  ]);
  inside.append(make('h3', {}, 'Answers'), make('dl', {}, ...rows));
  return make('details', { id: operation.id },
    make('summary', {},
      make('span', { class: 'method', 'data-method': operation.method }, operation.method.toUpperCase()),
      make('code', {}, operation.path), make('span', { class: 'hint' }, operation.summary)),
    inside);
}

function bodyOf(make, { mediaType, type, example }) {
  const parts = [make('code', {}, `${mediaType}${type ? `: ${type}` : ''}`)];
  if (example !== undefined) parts.push(make('pre', { tabindex: '0' }, typeof example === 'string' ? example : JSON.stringify(example, null, 2)));
  return make('div', {}, ...parts);
}

function schemaDetails(make, name, schema) {
  const inside = make('div', { class: 'inside' });
  if (schema.description) inside.append(prose(make, schema.description));
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).flatMap(([member, each]) => [
    make('dt', {}, make('code', {}, member)),
    make('dd', {}, make('span', { class: 'hint' }, `${typeOf(each)}${required.has(member) ? '' : ', optional'}`), prose(make, each.description ?? '')),
  ]);
  if (rows.length > 0) inside.append(make('dl', {}, ...rows));
  return make('details', {}, make('summary', {}, make('code', {}, name), make('span', { class: 'hint' }, rows.length > 0 ? 'object' : typeOf(schema))), inside);
}

/** A paragraph in which text between backticks is code. */
function prose(make, words) {
  return make('p', {}, ...words.split('`').map((part, index) => (index % 2 ? make('code', {}, part) : part)));
}

const text = (document, words) => document.createTextNode(words);

async function main() {
  const root = document.getElementById('api');
  try {
    const response = await fetch('/api/openapi.json');
    if (!response.ok) throw new Error(`status ${response.status}`);
    draw(root, await response.json());
    // What the address names was not there when the page was loaded.
    const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (named instanceof HTMLDetailsElement) named.open = true;
    named?.scrollIntoView();
  } catch (error) {
    document.getElementById('state').textContent = `The description could not be loaded: ${error.message}`;
  }
}

if (globalThis.document) await main();
