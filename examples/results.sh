#!/usr/bin/env bash
# Writes docs/results.md anew: runs every command in it and keeps what it prints and draws.
# Usage: examples/results.sh [FOLDER]     about ten minutes on two cores; FOLDER is docs by default
# WEIGHTS and DATA are other weights and clips than the packaged ones, SEEDS, RATIOS and MIXTURES how much.
set -euo pipefail
docs=${1:-$(dirname "$0")/../docs}
figures=$docs/results
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$figures"
export COLUMNS=100
inputs=(${WEIGHTS:+--weights "$WEIGHTS"} ${DATA:+--dataset "$DATA"})
read -ra ratios <<< "${RATIOS:--5 0 5 10 20 inf}"

# show FILES COMMAND...: the command, what it prints, and those PNG of its files that are named.
show() {
    local files=$1
    shift
    printf '\n```sh\n%s -o figures\n```\n\n```\n' "$*" >> "$work/results.md"
    "$@" "${inputs[@]}" -o "$work/$2" | sed 's/ *$//' >> "$work/results.md"
    printf '```\n' >> "$work/results.md"
    for file in $files; do
        mv "$work/$2/${file#*:}.png" "$figures/${file%:*}.png"
        printf '\n![%s](results/%s.png)\n' "${file%:*}" "${file%:*}" >> "$work/results.md"
    done
    rm -r "${work:?}/$2"
}

say() { printf '\n%s\n' "$@" >> "$work/results.md"; }

cat > "$work/results.md" <<MARKDOWN
# Results

Every result stands below the command that produced it. \`examples/results.sh\` writes this page: it runs
the commands and appends results/ablation.md (from “Ablation” on), whose commands take hours and need a
parts folder. Unless stated otherwise, the clips are the 40 of
[examples/testset/](../examples/testset/README.md) and the weights are the packaged ones
($(avseg --version)). The set is small: it shows the effect of noise and the representations of the
model, not its quality, for which see [weights/README.md](../weights/README.md).
MARKDOWN

say '## Noise robustness' \
    'The paper’s Figure 7. Mean and standard deviation over the mixtures; the measured ratio, a mean, stands
beside the requested one. "inf" is the unchanged sound.' \
    'Pink noise:'
show noise-pink:noise avseg noise-test --noise pink --snr "${ratios[@]}" --seeds "${SEEDS:-2}"
say 'Babble, eight voices at once. Of the visible classes only "person" occurs in this noise, so a silent person
in the picture can be painted.'
show noise-babble:noise avseg noise-test --noise babble --snr "${ratios[@]}" --seeds "${SEEDS:-2}"
say 'Music (organ, strings and bass):'
show noise-music:noise avseg noise-test --noise music --snr "${ratios[@]}" --seeds "${SEEDS:-2}"

say '## Decomposed semantics' \
    'The paper’s Figure 6. Sounds of two classes are mixed, with the picture of the first. A source counts as
found if its class is one of the two whose clips lie nearest, not counting the clips of the mixture
itself. "distance to sources / to others" is 1 if a mixture is no nearer to its sources than to other
clips. In the map a dot is a single sound, and two triangles are a mixture: both lie at one place before
decomposition, and at the tokens that predict their classes after it.'
show tsne avseg tsne --mixtures "${MIXTURES:-60}"

say '## Codebook' \
    'The codes of the local tokens, one second each. "purity" is the share of tokens whose class is the most
frequent one of their code, on the same clips; rarely used codes raise it. The quantization error is the
mean squared difference between tokens and their codes; both have variance 1, so unrelated vectors have
an error of 2.'
show codebook avseg codebook

say '## Qualitative examples' 'The paper’s Figure 5, with the clips that have the most sounding objects:'
avseg panel "${inputs[@]}" -o "$work/panel" > /dev/null
mv "$work/panel/panel.png" "$figures/panel.png"
printf '\n```sh\navseg panel -o figures\n```\n\n![panel](results/panel.png)\n' >> "$work/results.md"

if [ -e "$figures/ablation.md" ]; then # by hand: hours of training on a parts folder
    printf '\n' >> "$work/results.md"
    cat "$figures/ablation.md" >> "$work/results.md"
fi
mv "$work/results.md" "$docs/results.md"
echo "$docs/results.md"
