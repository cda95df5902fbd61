"""Memory limits read from control groups that lie in a folder, as the kernel lays them out."""

import pytest

from processes.memory_limits import Memory, memory, oom_kills

MIB = 2**20
HOST = {"proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {8 * 1024 * 1024} kB\n"}
HOST_BYTES = 8 * 1024 * MIB
NO_LIMIT_V1 = "9223372036854771712\n"


def tree(root, files):
    for name, text in {**HOST, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(path, limit, used=0, inactive=0, kills=0):
    folder = f"sys/fs/cgroup{path}"
    return {
        f"{folder}/memory.max": f"{limit}\n", f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 1\ninactive_file {inactive}\n",
        f"{folder}/memory.events": f"low 0\noom 9\noom_kill {kills}\n",
    }  # fmt: skip


def v1(path, limit, used=0, inactive=0, kills=0):
    folder = f"sys/fs/cgroup/memory{path}"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n", f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"inactive_file 5\ntotal_inactive_file {inactive}\n",
        f"{folder}/memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n",
    }  # fmt: skip


V2, V1 = "0::/a/b\n", "4:memory:/a/b\n3:cpu,cpuacct:/\n0::/\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, Memory(HOST_BYTES, None)),
        (V2, v2("/a/b", "max"), Memory(HOST_BYTES, None)),
        (V2, v2("/a/b", 1400 * MIB, 400 * MIB), Memory(1000 * MIB, 1400 * MIB)),
        (V2, v2("/a/b", 1400 * MIB, 900 * MIB, 500 * MIB), Memory(1000 * MIB, 1400 * MIB)),
        (V2, v2("/a/b", 100 * MIB, 200 * MIB), Memory(0, 100 * MIB)),
        (V2, {**v2("/a/b", "max"), **v2("/a", 300 * MIB, 100 * MIB)}, Memory(200 * MIB, 300 * MIB)),
        (V2, {**v2("/a/b", 900 * MIB), **v2("/a", 800 * MIB, 700 * MIB)}, Memory(100 * MIB, 800 * MIB)),
        ("0::/\n", v2("", 500 * MIB, 100 * MIB), Memory(400 * MIB, 500 * MIB)),  # in a container's own namespace
        ("0::/docker/abc\n", v2("", 500 * MIB, 100 * MIB), Memory(400 * MIB, 500 * MIB)),  # the path is the host's
        (V2, v2("/a/b", 99 * HOST_BYTES), Memory(HOST_BYTES, 99 * HOST_BYTES)),
        (V1, v1("/a/b", NO_LIMIT_V1.strip()), Memory(HOST_BYTES, None)),
        (V1, v1("/a/b", 1400 * MIB, 900 * MIB, 500 * MIB), Memory(1000 * MIB, 1400 * MIB)),
        (V1, {**v1("/a/b", NO_LIMIT_V1.strip()), **v1("/a", 64 * MIB)}, Memory(64 * MIB, 64 * MIB)),
        (V1, {**v1("/a/b", 64 * MIB), **v1("", 32 * MIB)}, Memory(32 * MIB, 32 * MIB)),
    ],
)  # fmt: skip
def test_every_limit_on_the_way_to_the_root_counts(tmp_path, own, files, expected):
    assert memory(tree(tmp_path, {"proc/self/cgroup": own, **files})) == expected


@pytest.mark.parametrize("groups", [v1, v2])
def test_kills_for_lack_of_memory_are_counted_in_our_groups(tmp_path, groups):
    own = {"proc/self/cgroup": V1 if groups is v1 else V2}
    before = oom_kills(tree(tmp_path, {**own, **groups("/a/b", 1, kills=2), **groups("/other", 1, kills=7)}))
    after = oom_kills(tree(tmp_path, {**own, **groups("/a/b", 1, kills=3)}))
    assert (before, after) == (2, 3)


def test_kills_on_the_whole_machine_are_counted_and_nothing_counts_as_unknown(tmp_path):
    assert oom_kills(tree(tmp_path, {})) is None
    assert oom_kills(tree(tmp_path, {"proc/vmstat": "pgfault 3\noom_kill 4\n"})) == 4


def test_this_machine_has_memory():
    here = memory()
    assert here.available_bytes > 0
    assert here.limit_bytes is None or here.limit_bytes > 0
