"""Candidates under the harness: the rules of its answers here, the harness itself where it is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.model.tiny_language import tiny_language
from transformers import AutoModelForCausalLM, AutoTokenizer

from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import RuntimeInfo, write_info
from shipworthy.model.evaluation_logs import read_answers_table
from shipworthy.model.lm_eval_adapter import harness_model, main, register, run_tasks
from shipworthy.model.lm_eval_answers import HarnessAnswers, Manner, open_answers

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".peers" / "lm_eval" / "bin" / "python"
TEXTS = (
    "The harbour empties twice a day.", "Snow lies on the pass in April.",
    "The clock strikes five minutes early, so that the market opens before the bells ring.",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_language(tmp_path_factory.mktemp("tiny") / "parent", TEXTS * 20)
    write_info(made, RuntimeInfo("torch", (), 64, does="respond", response="response"))
    return made


@pytest.fixture(scope="module")
def answers(folder: Path) -> HarnessAnswers:
    return open_answers(folder, threads=1)


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    """The same files in plain transformers, with nothing of ours around them."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def by_hand(plain: tuple[Any, Any], given: list[int], wanted: list[int]) -> tuple[float, bool]:
    """Log-likelihood of tokens after tokens, in double precision, one sequence alone."""
    model, _ = plain
    with torch.inference_mode():
        logits = model(torch.tensor([given + wanted[:-1]])).logits[0, len(given) - 1 :].double()
    shares = logits.log_softmax(-1)
    rows = torch.arange(len(wanted))
    return float(shares[rows, wanted].sum()), shares.argmax(-1).tolist() == wanted


# -- likelihoods ---------------------------------------------------------------------------------


def test_likelihoods_are_those_of_plain_transformers(
    answers: HarnessAnswers, plain: tuple[Any, Any]
) -> None:
    tokenizer = plain[1]
    pairs = [(TEXTS[0], " Snow lies."), (TEXTS[1], " It rings"), (TEXTS[2], " a")]
    for (context, continuation), found in zip(pairs, answers.likelihoods(pairs), strict=True):
        given = tokenizer.encode(context)
        wanted = tokenizer.encode(context + continuation)[len(given) :]
        value, greedy = by_hand(plain, given, wanted)
        assert found == (pytest.approx(value, rel=1e-5), greedy)


def test_the_likeliest_token_is_greedy(answers: HarnessAnswers, plain: tuple[Any, Any]) -> None:
    model, tokenizer = plain
    given = torch.tensor([tokenizer.encode(TEXTS[0])])
    with torch.inference_mode():
        best = int(model(given).logits[0, -1].argmax())
    text = tokenizer.decode([best])
    if tokenizer.encode(TEXTS[0] + text) != [*given[0].tolist(), best]:
        pytest.skip("the likeliest token joins the text before it")
    assert answers.likelihoods([(TEXTS[0], text)])[0][1]


def test_a_space_at_the_end_of_a_context_belongs_to_what_follows(answers: HarnessAnswers) -> None:
    moved, plain = answers.likelihoods([(f"{TEXTS[0]} ", "Snow"), (TEXTS[0], " Snow")])
    assert moved == pytest.approx(plain)


def test_a_text_without_a_context_follows_the_token_that_begins_texts(
    answers: HarnessAnswers, plain: tuple[Any, Any]
) -> None:
    tokenizer = plain[1]
    value, greedy = by_hand(plain, [tokenizer.eos_token_id], tokenizer.encode(TEXTS[0]))
    bare, begun = answers.likelihoods([("", TEXTS[0]), ("", f"<|end|>{TEXTS[0]}")])
    assert bare == begun == (pytest.approx(value, rel=1e-5), greedy)


def test_a_context_that_is_too_long_loses_its_start(folder: Path, plain: tuple[Any, Any]) -> None:
    tokenizer = plain[1]
    context, wanted = " ".join(TEXTS), " It rings"
    whole = tokenizer.encode(context + wanted)
    size = len(whole) - len(tokenizer.encode(context))
    window = 20
    assert len(whole) > window + 1
    kept = whole[-window - 1 :]
    value, _ = by_hand(plain, kept[:-size], kept[-size:])
    short = open_answers(folder, max_length=window, threads=1)
    assert short.likelihoods([(context, wanted)])[0][0] == pytest.approx(value, rel=1e-5)


@given(st.integers(2, 40))
def test_windows_predict_each_token_once(
    answers: HarnessAnswers, plain: tuple[Any, Any], window: int
) -> None:
    tokenizer = plain[1]
    text = " ".join(TEXTS)
    ids = tokenizer.encode(text)
    expected, done = 0.0, 0
    while done < len(ids):
        stop = min(done + window, len(ids))
        before = [tokenizer.eos_token_id, *ids][max(0, stop - window) : done + 1]
        expected += by_hand(plain, before, ids[done:stop])[0]
        done = stop
    short = HarnessAnswers(answers.model, max_length=window)
    assert short.rolling([text]) == [pytest.approx(expected, rel=1e-5)]


def test_a_token_that_a_tokenizer_begins_texts_with_is_read(
    folder: Path, tmp_path: Path, plain: tuple[Any, Any]
) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = "<|system|>"
    first = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", first)]
    )
    plain[0].save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_info(tmp_path, RuntimeInfo("torch", (), 64, does="continue"))
    found = open_answers(tmp_path, threads=1)
    given = [first, *plain[1].encode(TEXTS[0])]
    wanted = plain[1].encode(" Snow lies")
    assert AutoTokenizer.from_pretrained(tmp_path).encode(TEXTS[0]) == given
    value, _ = by_hand(plain, given, wanted)
    pairs = [(TEXTS[0], " Snow lies"), (f"<|system|>{TEXTS[0]}", " Snow lies")]
    assert [v for v, _ in found.likelihoods(pairs)] == pytest.approx([value] * 2, rel=1e-5)


# -- answers -------------------------------------------------------------------------------------


def test_answers_are_those_of_plain_transformers(
    answers: HarnessAnswers, plain: tuple[Any, Any]
) -> None:
    model, tokenizer = plain
    found = answers.answers([(text, {"max_gen_toks": 12}) for text in TEXTS])
    for text, answer in zip(TEXTS, found, strict=True):
        given = tokenizer(text, return_tensors="pt")
        said = model.generate(**given, max_new_tokens=12, do_sample=False)[0]
        new = said[given["input_ids"].shape[1] :]
        assert answer == tokenizer.decode(new, skip_special_tokens=True)
        assert answer


def test_an_answer_ends_before_its_stop(answers: HarnessAnswers) -> None:
    whole = answers.answers([(text, {"max_gen_toks": 24}) for text in TEXTS])
    for text, answer in zip(TEXTS, whole, strict=True):
        stop = answer[len(answer) // 2 :][:3]
        [cut] = answers.answers([(text, {"until": [stop, "§"], "max_gen_toks": 24})])
        assert cut == answer.split(stop)[0]


def test_answers_of_several_manners_stay_in_order(answers: HarnessAnswers) -> None:
    asked = [(text, {"max_gen_toks": size}) for size in (4, 9) for text in TEXTS]
    alone = [answers.answers([one])[0] for one in asked]
    assert answers.answers(asked) == alone


def test_sampling_follows_the_seed_of_torch(answers: HarnessAnswers) -> None:
    asked = [(TEXTS[0], {"max_gen_toks": 24, "do_sample": True, "temperature": 2.0})]
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            found += answers.answers(asked)
    assert found[0] == found[1] != found[2]


def test_an_answer_longer_than_the_window_is_refused(answers: HarnessAnswers) -> None:
    with pytest.raises(ModelError, match="may have 256 tokens, .* no more than 64"):
        answers.answers([(TEXTS[0], {})])


@given(st.text(max_size=30), st.lists(st.text(max_size=3), max_size=3))
def test_a_cut_answer_holds_no_stop(answer: str, until: list[str]) -> None:
    manner = Manner.of({"until": until})
    cut = manner.cut(answer)
    assert answer.startswith(cut)
    assert not any(stop in cut for stop in manner.until)


def test_a_conversation_is_put_into_the_candidates_template(answers: HarnessAnswers) -> None:
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    said = "<|user|>a<|end|><|assistant|>b"
    assert answers.chat(history[:1], answer_next=True) == "<|user|>a<|end|><|assistant|>"
    assert answers.chat(history, answer_next=False) == said
    assert answers.written_template == answers.model.tokenizer.chat_template


def test_a_template_with_a_prompt_in_it_is_used_for_each_turn(answers: HarnessAnswers) -> None:
    from dataclasses import replace

    info = replace(answers.model.info, template="Q: {prompt}\nA: ")
    model = type(answers.model)(answers.model.module, answers.model.tokenizer, info)
    asked = HarnessAnswers(model)
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert asked.chat(history, answer_next=True) == "Q: Be brief.\na\nA: b\nQ: c\nA: "


# -- without the harness -------------------------------------------------------------------------


@pytest.fixture
def no_harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without lm_eval, whether it is there or not."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    harness_model.cache_clear()
    yield
    harness_model.cache_clear()


@pytest.mark.usefixtures("no_harness")
def test_without_the_harness_the_line_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    for call in (harness_model, register, lambda: run_tasks(folder, ["arc_easy"], out=tmp_path)):
        with pytest.raises(ModelError, match=r"pip install 'lm_eval") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_harness")
def test_its_command_line_says_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "pip install 'lm_eval" in capsys.readouterr().err


# -- with the harness, in an environment of its own ----------------------------------------------

SCRIPT = """
import json, sys
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from shipworthy.core.errors import ShipworthyError
from shipworthy.model.lm_eval_adapter import run_tasks

folder, tasks, out = sys.argv[1:]
run = run_tasks(folder, ["words", "says", "whole"], out=out, include=tasks, threads=1)
again = []
for wrong in ({"tasks": ["word"], "out": out + "2"}, {"tasks": ["words"], "out": out}):
    try:
        run_tasks(folder, **wrong, include=tasks)
    except ShipworthyError as error:
        again.append(str(error))
found = simple_evaluate(
    model=HFLM(pretrained=folder, dtype="float32", max_length=64, device="cpu"),
    tasks=["words", "says", "whole"], task_manager=TaskManager(include_path=tasks),
)
print(json.dumps({
    "files": {k: str(v) for k, v in run.samples.items()}, "ours": run.results, "again": again,
    "theirs": {
        k: {n: float(x) for n, x in v.items() if isinstance(x, int | float)}
        for k, v in found["results"].items()
    },
    "samples": {
        t: {r["doc_id"]: r["filtered_resps"] for r in rows}
        for t, rows in found["samples"].items()
    },
}, default=float))
"""
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{asked}"
doc_to_target: "{target}"
{more}
"""


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="needs `make .peers/lm_eval/ready`")
def test_the_harness_finds_the_same_with_its_own_model(folder: Path, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    words = sorted({word for text in TEXTS for word in text.split()})
    rows = [
        {
            "q": f"{TEXTS[k % 3]} The word is", "choices": words[k : k + 4], "answer": k % 4,
            "meta": {"text": k % 3},
        }
        for k in range(20)
    ]  # fmt: skip
    file = tasks / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    scored = "metric_list: [{metric: acc}, {metric: acc_norm}]"
    kinds = {
        "words": ("multiple_choice", "{{q}}", "{{answer}}", f"doc_to_choice: choices\n{scored}"),
        "says": (
            "generate_until", "{{q}}", "{{choices[answer]}}",
            'generation_kwargs: {until: ["e "], max_gen_toks: 12, do_sample: false}\n'
            "metric_list: [{metric: exact_match}]",
        ),
        "whole": ("loglikelihood_rolling", "", "{{q}} {{q}} {{q}} {{q}}",
                  "metric_list: [{metric: byte_perplexity}]"),
    }  # fmt: skip
    for name, (kind, asked, target, more) in kinds.items():
        (tasks / f"{name}.yaml").write_text(
            TASK.format(name=name, file=file, kind=kind, asked=asked, target=target, more=more)
        )
    done = subprocess.run(
        [str(PEER), "-c", SCRIPT, str(folder), str(tasks), str(tmp_path / "out")],
        env={
            **os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(tmp_path / "cache"), "SHIPWORTHY_LANG": "en",
        },
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"]["words"] == found["theirs"]["words"]
    assert found["ours"]["says"] == found["theirs"]["says"]
    assert found["ours"]["whole"] == pytest.approx(found["theirs"]["whole"], rel=1e-5)
    for task, one in found["files"].items():
        logged = [json.loads(line) for line in Path(one).read_text("utf-8").splitlines()]
        assert len(logged) == 20
        for row in logged:
            theirs = found["samples"][task][str(row["doc_id"])]
            if task == "words":
                for mine, other in zip(row["filtered_resps"], theirs, strict=True):
                    assert float(mine[0]) == pytest.approx(other[0], abs=1e-4)
                    assert mine[1] == str(other[1])
            elif task == "says":
                assert row["filtered_resps"] == theirs
    table = read_answers_table(Path(found["files"]["words"]))
    right = (table["target"] == table["answer"]).mean()
    assert right == pytest.approx(found["theirs"]["words"]["acc,none"])
    assert table["meta.text"].n_unique() == 3
    assert "did you mean 'words'?" in found["again"][0]
    assert "holds samples already" in found["again"][1]


def test_nothing_of_the_harness_is_imported_with_the_adapter() -> None:
    code = "import shipworthy.model.lm_eval_adapter, sys; sys.exit('lm_eval' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
