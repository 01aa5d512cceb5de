// What the manager's page makes of what it is told.

/** Who gets a stream from whom, as nested lists that start at the publisher's node. */
export function treeOf({ owner, links }) {
  const below = (node, path) => ({
    node,
    children: links
      .filter(({ from, node: child }) => from === node && !path.includes(child))
      .map(({ node: child }) => below(child, [...path, child])),
  });
  return below(owner, [owner]);
}

/** How many publishers and viewers a stream has on each node; what nodes get from each other is neither. */
export function countsOf(streams) {
  const far = ({ cascade }) => cascade?.sessionUrl?.split('/').pop();
  const relays = new Set(Object.values(streams).flatMap(({ publish }) => publish.sessions.map(far)));
  return Object.fromEntries(Object.entries(streams).map(([node, stream]) => [node, {
    publishers: stream.publish.sessions.filter(({ cascade }) => !cascade).length,
    viewers: stream.subscribe.sessions.filter(({ cascade, id }) => !cascade && !relays.has(id)).length,
  }]));
}

export function stateOf({ status, draining }) {
  return status === 'running' && draining ? 'draining' : status;
}
