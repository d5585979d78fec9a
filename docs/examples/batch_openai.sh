set -e

# The same file as for OpenAI's Batch API.
cat > requests.jsonl <<'END'
{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}}
{"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 5"}]}}
END

foxapi batch run requests.jsonl -o answers.jsonl
cat answers.jsonl

# Compressed, through a pipe, with another model for all rows.
gzip -c requests.jsonl | gunzip | foxapi batch run - -o other.jsonl --model gpt-5.4
