"""The config that `rdistill init` writes."""

STARTER = """\
# A run of rdistill: `rdistill check FILE` validates it, `rdistill run FILE` does it.
# Every field with its default: docs/configuration.md
name: my-run
# data_dir: data            # where relative paths start; default: this file's folder

prompts:
  sources:
    - path: train.jsonl     # JSONL, CSV or Parquet; or `hub: OWNER/NAME`; or `task: word_problems`
      fields: {prompt: question, gold: answer}
      gold_format: text     # text | equation | hashes (GSM8K) | json
  dev_fraction: 0.1
  test_fraction: 0.1        # held out, never trained on; or a source with `split: test`

teacher:
  model: Qwen/Qwen2.5-7B-Instruct      # hub id, folder, or with engine: openai the endpoint's model name
  # engine: openai
  # base_url: http://127.0.0.1:8000/v1
  mode: rationale           # rationale | critique_revise | tool_trace
  system: >-
    Reason step by step in a few short sentences. Then write the final answer on a line of its own after ####.
  max_samples: 8

verify:
  verifiers:
    - name: math
    - name: format

select:
  modes: [explain, direct]  # the student learns to explain, and to answer with the result alone

student:
  model: HuggingFaceTB/SmolLM2-135M-Instruct

sft: {learning_rate: 1.0e-4, epochs: 3}
dpo: {learning_rate: 5.0e-6, beta: 0.1}
"""
