set -e

# A file with a column `text`.
cat > reviews.csv <<'END'
id,text
1,"It works, and it is quick."
2,"Never again: it broke on the first day."
3,"The box says ""as new"", and it is."
END

run='foxapi batch run reviews.csv -o answers.csv --model gpt-5.5'
prompt='Is this review good or bad? {text}'

# What it would send and cost. Nothing is sent, and no API key is needed.
$run --prompt "$prompt" --param max_tokens=30 --dry-run

# Two random rows first, into a file of their own; then all of them.
foxapi batch run reviews.csv -o sample.csv --model gpt-5.5 --prompt "$prompt" --param max_tokens=30 --sample 2
$run --prompt "$prompt" --param max_tokens=30 --max-errors 5% --report report.html

# Run again, it has nothing to do. After a crash it would go on.
$run --prompt "$prompt" --param max_tokens=30

foxapi batch status answers.csv
foxapi batch cost answers.csv
foxapi batch retry-failed answers.csv
