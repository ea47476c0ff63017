import pytest
import torch
from torch import nn

from avsegcli.audio.audioset import GROUPS, NUM_TAGS, TAGS
from avsegcli.audio.log_mel import LOG_OFFSET
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.model.yamnet import GROUP_WEIGHT, TagPrior, YAMNet

CLASSES = ("cat", "dog", "guitar", "tuba", "unheard of")
CAT, DOG, GUITAR, TUBA, UNKNOWN = range(5)


@pytest.fixture
def prior() -> TagPrior:
    prior = TagPrior(len(CLASSES))
    prior.name_classes(CLASSES)
    return prior


@pytest.fixture
def yamnet() -> YAMNet:
    """With weights that let signals through, as released ones do."""
    encoder = YAMNet()
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    encoder.learned_tail.load_state_dict(encoder.tail.state_dict())
    return encoder


def tags(**heights: float) -> torch.Tensor:
    """Logits ``(1, 521)``: -9 but for the first own tag of these classes."""
    logits = torch.full((1, NUM_TAGS), -9.0)
    for name, height in heights.items():
        logits[0, TAGS[name][0]] = height
    return logits


def test_an_example_has_the_same_answer_alone_and_in_a_batch(yamnet):
    log_mel = torch.randn(3, 1, 96, 64) - 2
    with torch.no_grad():
        together, alone = yamnet(log_mel), yamnet(log_mel[1:2])
    assert [tuple(x.shape) for x in together] == [(3, 1024), (3, 521)]
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:2], one, rtol=1e-3, atol=1e-4)


def test_learning_leaves_the_tags_as_they_are(yamnet):
    log_mel = torch.randn(2, 1, 96, 64) - 2
    embedding, before = (x.detach().clone() for x in yamnet(log_mel))
    optimizer = torch.optim.SGD(yamnet.learned_tail.parameters(), lr=0.1)
    yamnet(log_mel)[0].sum().backward()
    optimizer.step()
    with torch.no_grad():
        learned, after = yamnet(log_mel)
    assert torch.equal(after, before)
    assert not torch.allclose(learned, embedding)


def test_the_learned_tail_begins_as_a_copy_of_the_released_weights():
    source, target = YAMNet(), YAMNet()
    state = {f"classifier.{k}": v for k, v in source.classifier.state_dict().items()}
    for number, layer in enumerate([*source.trunk, *source.tail]):
        for key, value in layer.convolution.state_dict().items():
            state[f"layer{number:02d}.{key}"] = value
    target.load_released(state)
    log_mel = torch.randn(1, 1, 96, 64)
    assert torch.equal(target(log_mel)[1], source(log_mel)[1])
    for one, other in zip(target.tail.parameters(), target.learned_tail.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="zip"):
        target.load_released({k: v for k, v in state.items() if not k.startswith("layer26")})


def test_the_offset_of_vggish_is_replaced_by_that_of_yamnet():
    encoder, seen = YAMNet(), []
    encoder.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    energy = torch.rand(1, 1, 96, 64)
    encoder((energy + LOG_OFFSET).log())
    torch.testing.assert_close(seen[0], (energy + 0.001).log(), rtol=1e-3, atol=1e-3)
    encoder(torch.full((1, 1, 96, 64), -30.0))  # less than silence, by rounding
    assert seen[1].isfinite().all()


def test_a_class_is_as_likely_as_the_likeliest_of_its_tags(prior):
    logits = tags(dog=1.0)
    logits[0, TAGS["dog"][1]] = 2.0
    found = prior(logits)[0]
    assert found[DOG] == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert max(found[CAT], found[GUITAR], found[TUBA]) < 0.01
    assert found[UNKNOWN] == 0


def test_a_shared_tag_says_less_of_each_class_the_more_share_it(prior):
    for tag, members in ((68, ("cat", "dog")), (180, ("trombone", "trumpet", "tuba"))):
        logits = torch.full((1, NUM_TAGS), -20.0)
        logits[0, tag] = 20.0
        found = prior(logits)[0]
        expected = [GROUP_WEIGHT / len(members) ** 0.5 * (name in members) for name in CLASSES]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_what_is_imagined_is_likelier_and_no_tag_is_lowered(prior):
    logits = tags(dog=5.0, cat=1.0).repeat(3, 1) + torch.randn(3, NUM_TAGS)
    imagined = torch.zeros(3, len(CLASSES), dtype=torch.bool)
    imagined[0, GUITAR] = imagined[2, CAT] = True
    before, kept = prior(logits), logits.clone()
    raised = prior.imagine(logits, imagined)
    assert torch.equal(logits, kept)  # of the caller
    assert (raised >= logits).all()
    assert torch.equal(raised[1], logits[1])
    after = prior(raised)
    assert after[0, GUITAR] >= torch.tensor(-0.5).sigmoid()
    assert after[0, GUITAR] > before[0, GUITAR]
    touched = (raised[0] != logits[0]).nonzero().flatten().tolist()
    of_guitar = {tag for ids, members in GROUPS if "guitar" in members for tag in ids}
    assert set(touched) <= of_guitar | set(TAGS["guitar"])


def test_every_class_of_the_packaged_model_has_tags_but_for_the_tuba():
    classes = load_checkpoint().classes[1:]
    assert [name for name in classes if not TAGS[name]] == ["tuba"]
    # Which AudioSet knows as a brass instrument only.
    assert any("tuba" in members for _, members in GROUPS)


def test_the_tables_hold_numbers_of_tags_and_names_of_classes():
    for numbers in [*TAGS.values(), *(numbers for numbers, _ in GROUPS)]:
        assert len(set(numbers)) == len(numbers)
        assert all(0 <= number < NUM_TAGS for number in numbers)
    assert {name for _, members in GROUPS for name in members} <= set(TAGS)
    shared = [number for numbers in TAGS.values() for number in numbers]
    assert len(set(shared)) == len(shared)  # a tag of one class is not that of another
