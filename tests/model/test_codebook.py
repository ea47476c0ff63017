import pytest
import torch
import torch.nn.functional as F

from avsegcli.config import load_config
from avsegcli.model.codebook import Codebook

# Of mean 0 and variance 1, as all code vectors are.
CORNERS = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1], [-1, 1, -1, 1]])


def codebook_of(code: torch.Tensor, **settings) -> Codebook:
    """A codebook of these vectors."""
    codebook = Codebook(*code.shape, **settings)
    with torch.no_grad():
        codebook.code.copy_(code)
        codebook.total.copy_(code)
    return codebook


def test_code_vectors_have_mean_0_and_variance_1_if_asked_for():
    codebook = Codebook(8, 16)
    assert torch.equal(codebook.vectors(), codebook.code)
    vectors = Codebook(8, 16, norm=True).vectors()
    torch.testing.assert_close(vectors.mean(1), torch.zeros(8), rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors.var(1, correction=0), torch.ones(8), rtol=0, atol=1e-3)


@pytest.mark.parametrize("norm", [True, False])
def test_each_token_gets_its_nearest_code(norm):
    codebook, tokens = Codebook(16, 4, norm=norm).eval(), torch.randn(3, 5, 4)
    quantized = codebook(tokens, update=False)
    distances = (tokens[:, :, None] - codebook.vectors()).square().sum(-1)  # (3, 5, 16)
    assert torch.equal(quantized.indices, distances.argmin(-1))
    torch.testing.assert_close(quantized.vectors, codebook.vectors()[quantized.indices])
    expected = 0.25 * distances.amin(-1).mean() / 4
    torch.testing.assert_close(quantized.loss.mean(), expected)


def test_gradients_pass_straight_through():
    codebook, tokens = Codebook(8, 4).eval(), torch.randn(2, 3, 4, requires_grad=True)
    weight = torch.randn(2, 3, 4)
    (codebook(tokens, update=False).vectors * weight).sum().backward()
    assert torch.equal(tokens.grad, weight)


def test_the_commitment_loss_pulls_tokens_to_their_codes():
    codebook, tokens = Codebook(8, 4).eval(), torch.randn(2, 3, 4, requires_grad=True)
    quantized = codebook(tokens, update=False)
    quantized.loss.mean().backward()
    away = tokens.detach() - codebook.vectors()[quantized.indices]
    torch.testing.assert_close(tokens.grad, 0.25 * 2 * away / tokens.numel())


@pytest.mark.parametrize("ema", [True, False])
def test_local_tokens_do_not_move_the_codebook(ema):
    codebook = codebook_of(torch.randn(8, 4), ema=ema).train()
    before = {key: value.clone() for key, value in codebook.state_dict().items()}
    loss = codebook(torch.randn(2, 3, 4, requires_grad=True), update=False).loss.mean()
    loss.backward()
    assert all(torch.equal(before[k], v) for k, v in codebook.state_dict().items())
    assert ema or codebook.code.grad is None


def test_global_tokens_do_not_move_the_codebook_in_evaluation():
    codebook = codebook_of(torch.randn(8, 4)).eval()
    before = codebook.code.clone()
    codebook(torch.randn(2, 3, 4), update=True)
    assert torch.equal(before, codebook.code)


def test_the_first_batch_fills_the_codebook():
    codebook = Codebook(6, 4, decay=1.0, ema=True, fill=True).train()
    tokens = 100 + torch.randn(2, 3, 4)
    codebook(tokens, update=True)
    nearest = torch.cdist(codebook.code, tokens.flatten(0, 1)).amin(1)
    assert codebook.filled
    assert (nearest < 0.1).all()


def test_the_moving_average_by_hand():
    codebook = codebook_of(CORNERS[:2], decay=0.9, ema=True).train()
    near_first, near_second = CORNERS[0] + torch.tensor([0.1, 0, 0, 0]), 2 * CORNERS[1]
    codebook(torch.stack([near_first, CORNERS[0], near_second])[None], update=True)
    # Each code had one token, itself; the first got two more, the second one.
    expected = torch.stack(
        [
            (0.9 * CORNERS[0] + 0.1 * (near_first + CORNERS[0])) / (0.9 + 0.1 * 2),
            (0.9 * CORNERS[1] + 0.1 * near_second) / (0.9 + 0.1),
        ]
    )
    torch.testing.assert_close(codebook.code, expected)


def test_the_moving_average_finds_the_means_of_clusters():
    codebook = Codebook(3, 4, decay=0.9, ema=True, norm=True, fill=True).train()
    for _ in range(100):
        tokens = CORNERS[torch.randint(3, (4, 8))] + 0.1 * torch.randn(4, 8, 4)
        codebook(tokens, update=True)
    assert torch.cdist(CORNERS[:3], codebook.vectors()).amin(1).max() < 0.2


def test_each_term_of_equation_9_has_its_gradient_and_no_other():
    tokens = torch.tensor([[1.0, 0, 0, 0], [0.9, 0, 0, 0], [0, 0, 0, 3]], requires_grad=True)
    code = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    codebook = codebook_of(code).train()
    quantized = codebook(tokens, update=True)
    assert quantized.indices.tolist() == [0, 0, 1]
    quantized.loss.sum().backward()
    away = tokens.detach() - code[[0, 0, 1]]
    moved = torch.stack([-away[0] - away[1], -away[2]])
    torch.testing.assert_close(codebook.code.grad, 2 / 4 * moved)  # ||sg[g] - VQ(g)||^2
    torch.testing.assert_close(tokens.grad, 0.25 * 2 / 4 * away)  # beta ||g - sg[VQ(g)]||^2
    codebook.code.grad = tokens.grad = None
    codebook(tokens, update=False).loss.sum().backward()
    assert codebook.code.grad is None
    torch.testing.assert_close(tokens.grad, 0.25 * 2 / 4 * away)  # beta ||l - sg[VQ(l)]||^2


def test_the_gradient_form_moves_normed_codes_to_their_tokens():
    codebook = codebook_of(torch.randn(8, 4), norm=True).train()
    tokens = torch.randn(2, 3, 4, requires_grad=True)
    code = codebook.code.detach().clone().requires_grad_()
    quantized = codebook(tokens, update=True)
    quantized.loss.mean().backward()
    F.mse_loss(F.layer_norm(code, (4,))[quantized.indices], tokens.detach()).backward()
    torch.testing.assert_close(codebook.code.grad, code.grad)
    assert torch.equal(codebook.code, code)


@pytest.mark.parametrize("ema", [True, False])
def test_codes_that_are_not_chosen_come_back_as_tokens_if_asked_for(ema):
    still, revived = (codebook_of(CORNERS, ema=ema, revival=r).train() for r in (0, 8))
    for step in range(1, 9):
        for codebook in (still, revived):
            codebook(CORNERS[0] + 0.1 * torch.randn(2, 8, 4), update=True)
        torch.testing.assert_close(still.code[1:], CORNERS[1:])
        if step < 8:
            torch.testing.assert_close(revived.code[1:], CORNERS[1:])
    assert (revived.code @ CORNERS[0] / 4).min() > 0.8


def test_revival_leaves_their_codes_to_rare_classes():
    # Each clip has one of 70 classes, of Zipf frequencies: the rarest is in one batch of 85.
    revival = load_config("lite").model.codebook_revival
    num_classes, dim, rare = 70, 64, slice(50, 70)
    classes = F.layer_norm(torch.randn(num_classes, dim), (dim,))
    codebook = codebook_of(torch.randn(128, dim), ema=True, norm=True, revival=revival).train()
    with torch.no_grad():
        codebook.code[:num_classes] = classes
        codebook.total[:num_classes] = classes
    drawn = torch.multinomial(1 / torch.arange(1.0, 71), 4 * 2000, replacement=True).view(-1, 4)
    foreign = torch.zeros(num_classes)
    for labels in drawn:
        tokens = classes[labels] + 0.1 * torch.randn(4, dim)
        nearest = classes @ codebook.code[codebook(tokens, update=True).indices].T  # (70, 4)
        foreign.index_add_(0, labels, (nearest.argmax(0) != labels).float())
    assert foreign[rare].sum() < 0.01 * torch.isin(drawn, torch.arange(50, 70)).sum()
    assert codebook.idle.max() < revival


def test_perplexity_and_usage_by_hand():
    codebook = codebook_of(CORNERS, decay=0.0, ema=True).train()
    codebook(CORNERS[[0, 0, 1, 1]], update=True)
    assert codebook.perplexity().item() == pytest.approx(2.0, rel=1e-4)
    assert codebook.usage().item() == 0.5
    codebook.code.copy_(CORNERS)
    codebook(CORNERS, update=True)
    assert codebook.perplexity().item() == pytest.approx(4.0, rel=1e-4)
    assert codebook.usage().item() == 1.0


def test_in_the_warm_up_more_and_more_tokens_are_quantized():
    codebook = codebook_of(CORNERS, ema=True, warmup=(1, 5)).train()
    tokens = torch.randn(500, 2, 4)
    shares, losses = [], []
    for _ in range(6):
        quantized = codebook(tokens, update=True)
        shares.append((quantized.vectors != tokens).any(-1).float().mean().item())
        losses.append(quantized.loss.mean().item())
    assert shares == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1], abs=0.05)
    assert losses[:2] == [0, 0]
    assert (codebook.eval()(tokens, update=False).vectors != tokens).any(-1).all()


def test_bf16_autocast_chooses_the_same_codes():
    codebook, tokens = Codebook(128, 64).eval(), torch.randn(50, 64)
    expected = codebook(tokens, update=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = codebook(tokens, update=False)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.vectors, expected.vectors)


def test_tokens_of_another_width_are_refused():
    with pytest.raises(ValueError, match="tokens of 5 channels"):
        Codebook(8, 4)(torch.zeros(1, 5), update=False)
