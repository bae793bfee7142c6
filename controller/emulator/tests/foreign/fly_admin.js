// The npm package `fly-admin`, unmodified, through the life of an app: started with the base URL, a
// token, and the folder of its installation. Says what it did on standard output; exits with 1 at
// the first answer that is not what it should be.
const assert = require('node:assert/strict');
const path = require('node:path');

const [url, token, modules] = process.argv.slice(2);
// The package's own `createClient` knows the live service's URLs alone; its class takes others.
const { default: Client } = require(path.join(modules, 'fly-admin/dist/client'));
const fly = new Client(token, { apiUrl: url, graphqlUrl: url });
const app_name = 'fly-admin-app';

async function main() {
  const organization = await fly.Organization.getOrganization('local');
  assert.equal(organization.organization.slug, 'local');
  const { platform } = await fly.Regions.getRegions();
  assert.ok(platform.regions.some((region) => region.code === platform.requestRegion));

  await fly.App.createApp({ app_name, org_slug: 'local' });
  const { apps } = await fly.App.listApps('local');
  assert.deepEqual(apps.map((app) => app.name), [app_name]);
  await fly.Secret.setSecrets({ appId: app_name, secrets: [{ key: 'A', value: '1' }, { key: 'B', value: '2' }] });
  await fly.Secret.unsetSecrets({ appId: app_name, keys: ['B'] });
  const allocated = await fly.Network.allocateIpAddress({ appId: app_name, type: 'v6' });
  const detailed = await fly.App.getAppDetailed(app_name);
  assert.equal(detailed.organization.slug, 'local');
  assert.equal(detailed.ipAddresses[0].address, allocated.allocateIpAddress.ipAddress.address);
  await fly.Network.releaseIpAddress({ appId: app_name, ip: detailed.ipAddresses[0].address });

  const volume = await fly.Volume.createVolume({ app_name, name: 'data', region: 'ams', size_gb: 1 });
  const config = { image: 'nginx:1.29', mounts: [{ volume: volume.id, path: '/data' }] };
  const machine = await fly.Machine.createMachine({ app_name, name: 'one', region: 'ams', config });
  const machine_id = machine.id;
  const wait = (state, instance_id) =>
    fly.Machine.waitMachine({ app_name, machine_id, state, instance_id, timeout: '30s' });
  await wait('started', machine.instance_id);
  assert.equal((await fly.Volume.getVolume({ app_name, volume_id: volume.id })).attached_machine_id, machine_id);

  const lease = await fly.Machine.acquireLease({ app_name, machine_id, ttl: 1 });
  assert.equal(lease.status, 'success');
  assert.equal((await fly.Machine.getLease({ app_name, machine_id })).data.nonce, lease.data.nonce);
  // This client cannot pass the nonce on: without it an update is refused, and a stop waits for the
  // end of the lease.
  const newer = { ...config, env: { N: '2' } };
  await assert.rejects(fly.Machine.updateMachine({ app_name, machine_id, config: newer }), /409.*lease currently held/);
  await fly.Machine.stopMachine({ app_name, machine_id });
  await wait('stopped', machine.instance_id);

  const updated = await fly.Machine.updateMachine({ app_name, machine_id, config: newer });
  assert.notEqual(updated.instance_id, machine.instance_id);
  await wait('started', updated.instance_id);
  const versions = await fly.Machine.listVersions({ app_name, machine_id });
  assert.deepEqual(versions.map((version) => version.version), [updated.instance_id, machine.instance_id]);
  await fly.Machine.cordonMachine({ app_name, machine_id });
  assert.equal((await fly.Machine.getMachine({ app_name, machine_id })).cordoned, true);
  await fly.Machine.uncordonMachine({ app_name, machine_id });

  await fly.Machine.stopMachine({ app_name, machine_id });
  await wait('stopped', updated.instance_id);
  await fly.Machine.startMachine({ app_name, machine_id });
  await wait('started', updated.instance_id);
  const events = await fly.Machine.listEvents({ app_name, machine_id });
  assert.ok(events.some((event) => event.type === 'exit'));
  const { volume: extended } = await fly.Volume.extendVolume({ app_name, volume_id: volume.id, size_gb: 2 });
  assert.equal(extended.size_gb, 2);
  assert.deepEqual(await fly.Volume.listSnapshots({ app_name, volume_id: volume.id }), []);

  await fly.Machine.deleteMachine({ app_name, machine_id, force: true });
  await wait('destroyed', updated.instance_id);
  assert.deepEqual(await fly.Machine.listMachines(app_name), []);
  await fly.Volume.deleteVolume({ app_name, volume_id: volume.id });
  await fly.App.deleteApp(app_name);
  console.log('fly-admin: done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
