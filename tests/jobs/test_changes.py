"""Changes by channel, on a real Valkey: who waits for a job hears of it, and of no other job."""

import asyncio

import pytest
from queue_bench import MANY, spec

from jobs import redis_keys
from jobs.changes import Changes, channels_of
from jobs.end_tasks import end_tasks
from jobs.queue import Event
from jobs.record import Progress
from jobs.state import State


class Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.channels, self.heard, self.event = set(), 0, asyncio.Event()

    def subscribed(self, channel):
        self.channels.add(channel)
        self.event.set()

    def changed(self):
        self.heard += 1
        self.event.set()

    async def until(self, check):
        async with asyncio.timeout(20):
            while not check(self):
                await self.event.wait()
                self.event.clear()


async def subscriptions(redis):
    return {name.decode() for name in await redis.pubsub_channels("undegrade:*")}


async def until_subscribed_to(redis, *channels):
    async with asyncio.timeout(20):
        while await subscriptions(redis) != set(channels):
            await asyncio.sleep(0.01)


def listening(run, scenario, **words):
    """Run a scenario with changes that listen."""

    async def with_changes(bench):
        changes = Changes(**words)
        task = asyncio.create_task(changes.listen(bench.redis))
        try:
            await scenario(bench, changes)
            assert not task.done()
        finally:
            await end_tasks(task)
        assert await subscriptions(bench.redis) == set(), "a subscription is left"

    run(with_changes)


STEP = Event(id="", type="step.progress", data={})


async def report(bench, job):
    await bench.queue.report("a", job.id, Progress(), event=STEP)


async def cancel(bench, job):
    await bench.queue.cancel(job.id)
    await release(bench, job)


async def release(bench, job):
    await bench.queue.release("a", [job.id], died=False)


async def commit(bench, job):
    assert await bench.commit(job) == State.SUCCEEDED


async def forget(bench, job):
    await bench.queue.forget(job.id)


CHANGES = [(report, False), (release, False), (commit, True), (cancel, True), (forget, True)]


@pytest.mark.parametrize(("change", "ends"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_each_change_is_heard_by_those_who_wait_for_it_alone(run, change, ends):
    async def scenario(bench, changes):
        job, other = await bench.running(), await bench.running()
        stream, end, stranger = Ear(), Ear(), Ear()
        for ear, of, only_end in ((stream, job, False), (end, job, True), (stranger, other, False)):
            changes.add(ear, channels_of(of.id, only_end))
        await until_subscribed_to(bench.redis, *channels_of(job.id, False), *channels_of(other.id, False))
        await change(bench, job)
        await stream.until(lambda ear: ear.heard)
        if ends:
            await end.until(lambda ear: ear.heard)
        before = end.heard
        await forget(bench, other)  # after it on the same connection: whatever came before has been heard
        await stranger.until(lambda ear: ear.heard)
        assert stranger.heard == 1 and (end.heard, before) == ((1, 1) if ends else (0, 0))
        for ear, of, only_end in ((stream, job, False), (end, job, True), (stranger, other, False)):
            changes.remove(ear, channels_of(of.id, only_end))
        await until_subscribed_to(bench.redis)

    listening(run, scenario)


def test_two_hearers_share_a_subscription_and_the_last_one_ends_it(run):
    async def scenario(bench, changes):
        job, ears = spec(), [Ear(), Ear()]
        await bench.queue.submit(job, MANY)
        (channel,) = channels_of(job.id, True)
        assert changes.add(ears[0], [channel]) in (set(), {channel})  # it may not be connected yet
        await ears[0].until(lambda ear: ear.channels)
        assert changes.add(ears[1], [channel]) == set(), "nothing to wait for: it is subscribed"
        assert await bench.redis.pubsub_numsub(channel) == [(channel.encode(), 1)]
        changes.remove(ears[0], [channel])
        await bench.queue.cancel(job.id)
        await ears[1].until(lambda ear: ear.heard)
        assert ears[0].heard == 0
        changes.remove(ears[1], [channel])
        await until_subscribed_to(bench.redis)

    listening(run, scenario)


def test_a_channel_that_is_left_and_taken_again_is_confirmed_by_its_last_subscription(run):
    """An answer to the first SUBSCRIBE says nothing about the time between UNSUBSCRIBE and the second one."""

    async def scenario(bench, changes):
        first, second = Ear(), Ear()
        anchor = Ear()
        changes.add(anchor, ["undegrade:x"])
        await anchor.until(lambda ear: ear.channels)
        for _ in range(20):
            assert changes.add(first, ["undegrade:y"]) == {"undegrade:y"}
            await asyncio.sleep(0)  # SUBSCRIBE is sent
            await asyncio.sleep(0)
            changes.remove(first, ["undegrade:y"])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            second.channels.clear()
            if changes.add(second, ["undegrade:y"]):
                await second.until(lambda ear: ear.channels)
            assert await bench.redis.publish("undegrade:y", "") == 1, "it was said to be subscribed"
            changes.remove(second, ["undegrade:y"])
            await until_subscribed_to(bench.redis, "undegrade:x")
            first.channels.clear()

    listening(run, scenario)


def test_a_quiet_server_that_answers_is_not_gone(run):
    async def scenario(bench, changes):
        await asyncio.sleep(0.5)  # ten pings, with and without a subscription
        ear = Ear()
        changes.add(ear, ["undegrade:x"])
        await ear.until(lambda each: each.channels)
        await asyncio.sleep(0.5)
        await bench.redis.publish("undegrade:x", "")
        await ear.until(lambda each: each.heard)
        assert ear.heard == 1

    listening(run, scenario, quiet_s=0.05)


def test_many_channels_fit_into_several_commands(run):
    async def scenario(bench, changes):
        ear, names = Ear(), [f"undegrade:{number}" for number in range(2500)]
        changes.add(ear, names)
        await ear.until(lambda each: len(each.channels) == 2500)
        assert len(await subscriptions(bench.redis)) == 2500
        changes.remove(ear, names)
        await until_subscribed_to(bench.redis)

    listening(run, scenario)


def test_a_process_of_an_earlier_version_still_hears_of_all_jobs(run):
    """It listens to one channel, whose messages are an id, with ` over` at the end."""

    async def scenario(bench):
        job = await bench.running()
        async with bench.redis.pubsub(ignore_subscribe_messages=True) as old:
            await old.subscribe(redis_keys.CHANGES)
            assert await old.get_message(timeout=20) is None
            await report(bench, job)
            await commit(bench, job)
            found = []
            while len(found) < 2:
                if message := await old.get_message(timeout=20):
                    found.append(message["data"].decode())
        assert redis_keys.CHANGES == "undegrade:wake" and found == [job.id, f"{job.id} over"]

    run(scenario)
