set -e

# Made, billed once, and saved into a folder.
foxapi image gpt-image-2 'a fox in the snow' --param num_outputs=2 -o pictures

# A picture of your own: it is uploaded, and its link becomes the parameter.
foxapi image gpt-image-2 'the same fox at night' --upload image_urls=pictures/image-1.png -o pictures

# A video takes minutes: submit it now, and save it later, from any shell.
task=$(foxapi video sora-2 'a fox runs' --no-wait --text)
foxapi wait "$task" -o clips
