// Serves an OpenID provider on this machine, for tests: prints its issuer, reads commands from standard input, and
// exits when that closes, so that a killed test leaves no server behind. Each command prints one line:
//
//   rotate ALGORITHM   adds a key for an algorithm, which signs from now on
//   retire             removes all other keys
//   id-token CLIENT    returns an ID token for a client
//   lifetime SECONDS   sets the lifetime of new access tokens
//
// The client `airflow` has a secret. The client `dcp-cli` is that of people: it has none, and pages that accept any name
// and password.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

// The path of the package, which is not in the tree.
const { default: Provider } = await import(process.argv[2]);

// Standard output is for the answers to commands, and the package's warnings are about use in production.
console.info = console.warn = () => {};

const PAIRS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519'],
};

let issuer;
let keys = [];
let provider;
let answer;
let lifetime = 3600;

function addKey(algorithm) {
  const { privateKey } = generateKeyPairSync(...PAIRS[algorithm]);
  keys = [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: algorithm, use: 'sig' }, ...keys];
}

function client(name) {
  return {
    client_id: name,
    client_secret: `${name}-secret`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: keys[0].alg,
  };
}

const publicClient = {
  client_id: 'dcp-cli',
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: ['http://127.0.0.1/callback'],
  response_types: ['code'],
};

// A provider has the keys that it is made with.
function restart() {
  const sign = { alg: keys[0].alg, kid: keys[0].kid };
  provider = new Provider(issuer, {
    clients: [client('airflow'), publicClient],
    cookies: { keys: ['test'] },
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(PAIRS) },
    clientDefaults: { id_token_signed_response_alg: keys[0].alg },
    extraTokenClaims: () => ({ groups: ['data'] }),
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: '',
          audience: resource.replace('urn:', ''),
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifetime,
          jwt: { sign },
        }),
      },
    },
  });
  answer = provider.callback();
}

const commands = {
  rotate(algorithm) {
    addKey(algorithm);
    restart();
    return 'rotated';
  },
  retire() {
    keys = keys.slice(0, 1);
    restart();
    return 'retired';
  },
  lifetime(seconds) {
    lifetime = Number(seconds);
    return 'set';
  },
  async 'id-token'(name) {
    const token = new provider.IdToken({ sub: 'ada' }, { client: await provider.Client.find(name) });
    token.scope = 'openid';
    return token.issue({ use: 'idtoken' });
  },
};

const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  addKey('RS256');
  restart();
  console.log(issuer);
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, argument] = line.split(' ');
    console.log(await commands[command](argument));
  }
  process.exit();
});
