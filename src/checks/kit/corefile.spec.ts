import { expect, test } from 'vitest';
import { forwardsIn } from './corefile.ts';

test('reads what is forwarded where', () => {
  const corefile = `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
    }
    # forward . 192.0.2.99
    forward . /etc/resolv.conf 192.0.2.10 dns://192.0.2.11 {
       max_concurrent 1000
    }
    loop
}
corp.example:53 {
    forward corp.example 192.0.2.20:5353 2001:db8::1
}
secret.example {
    forward . tls://9.9.9.9 { tls_servername dns.example }
}
`;
  expect(forwardsIn(corefile)).toEqual([
    {
      zone: '.',
      servers: [
        { ip: '192.0.2.10', port: 53 },
        { ip: '192.0.2.11', port: 53 },
      ],
      files: ['/etc/resolv.conf'],
    },
    { zone: 'corp.example', servers: [{ ip: '192.0.2.20', port: 5353 }], files: [] },
    { zone: '.', servers: [], files: [] },
  ]);
});

test('a Corefile without forward forwards nothing', () => {
  expect(forwardsIn('.:53 {\n    errors\n}\n')).toEqual([]);
});
