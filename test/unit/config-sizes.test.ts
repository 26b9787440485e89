import t from 'tap';
import { formatAddress, isLoopbackHost, parseAddress } from '../../daemon/config/address.ts';
import { nearestName } from '../../daemon/config/nearest-name.ts';
import { formatSize, formatSizeExactly, parseSize } from '../../daemon/config/sizes.ts';

t.test('sizes are read with binary units', async (t) => {
  t.equal(parseSize('4096'), 4096);
  t.equal(parseSize('512B'), 512);
  t.equal(parseSize('64KiB'), 65_536);
  t.equal(parseSize(' 1 GiB '), 1024 ** 3);
  t.equal(parseSize('2TiB'), 2 * 1024 ** 4);
});

t.test('what is no size is not read as one', async (t) => {
  for (const text of ['', '1GB', '1g', '-1', '1.5GiB', '1e3', 'GiB', '0x10', '99999999999TiB']) {
    t.equal(parseSize(text), undefined, text);
  }
});

t.test('an exactly written size reads back as the same number', async (t) => {
  for (const bytes of [0, 1, 512, 4096, 4097, 1024 ** 2, 3 * 1024 ** 3, 64 * 1024 ** 4]) {
    t.equal(parseSize(formatSizeExactly(bytes)), bytes);
  }
});

t.test('a size for a person has one decimal at most', async (t) => {
  t.equal(formatSize(0), '0 B');
  t.equal(formatSize(1536), '1.5 KiB');
  t.equal(formatSize(10 * 1024 ** 3), '10 GiB');
});

t.test('addresses are read and written with IPv6 in brackets', async (t) => {
  t.same(parseAddress('lux-2.example.org:9618'), { host: 'lux-2.example.org', port: 9618 });
  t.same(parseAddress('[::1]:80'), { host: '::1', port: 80 });
  t.equal(formatAddress({ host: '::1', port: 80 }), '[::1]:80');
  for (const text of ['9618', 'lux-2', '::1:80', 'lux-2:70000', ':80', 'a b:80', '']) {
    t.equal(parseAddress(text), undefined, text);
  }
});

t.test('only addresses of this machine count as loopback', async (t) => {
  for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '127.1.2.3', '::1']) {
    t.ok(isLoopbackHost(host), host);
  }
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.example.org', '127.0.0.1.nip.io']) {
    t.notOk(isLoopbackHost(host), host);
  }
});

t.test('the nearest name is found for a slip of the finger and for nothing else', async (t) => {
  const names = ['heartbeatMs', 'leaseMs', 'graceMs', 'listen'];
  t.equal(nearestName('heartbaetMs', names), 'heartbeatMs');
  t.equal(nearestName('lease', names), 'leaseMs');
  t.equal(nearestName('Listen', names), 'listen');
  t.equal(nearestName('colour', names), undefined);
});
