"""`undegrade doctor` runs all checks, and its exit code is that of the first failure."""


def test_doctor_runs_every_check_on_this_machine(with_bundle):
    result = with_bundle("doctor")
    rows = [[cell.strip() for cell in line.split("│")] for line in result.text.splitlines()]
    outcomes = {cells[1]: cells[2] for cells in rows if len(cells) > 3}
    checks = {"python", "torch", "torchvision", "device", "bundle", "networks", "speed", "memory", "disk", "settings"}
    assert checks <= set(outcomes)
    failed = {name for name, outcome in outcomes.items() if outcome == "FAILED"}
    assert failed <= {"memory"}  # a busy machine may have too little
    assert (result.code == 0) == (not failed)


def test_doctor_reports_each_failure_and_continues(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cuda:99")
    monkeypatch.setenv("UNDEGRADE_BUNDLE", "nowhere")
    result = with_bundle("doctor")
    assert result.code == 4
    assert "no bundle 'nowhere'" in " ".join(result.text.replace("│", " ").split())
    assert result.text.count("FAILED") >= 3


def details(result):
    return " ".join(result.text.replace("│", " ").split())


def test_doctor_says_that_graphs_and_compile_are_off_and_how_to_switch_them_on(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cpu")
    said = details(with_bundle("doctor"))
    assert "CUDA graphs are off: they need a CUDA device" in said
    assert "UNDEGRADE_COMPILE=true" in said


def test_doctor_says_why_compile_is_off_although_it_was_asked_for(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cpu")
    monkeypatch.setenv("UNDEGRADE_COMPILE", "true")
    monkeypatch.setenv("CXX", "/nowhere/c++")
    said = details(with_bundle("doctor"))
    assert "although UNDEGRADE_COMPILE is true" in said and "CXX=/nowhere/c++ is not a program" in said
