"""Response -> answer text, in two steps: text -> blocks, then ranked cues over the blocks.

``... so $x=4$. The answer is $\\boxed{4}$.`` gives ``4``, found as "boxed".

1. `visible` takes out thoughts, `document` parts the text into blocks (with `dollars`: is ``$`` money?).
2. `cues` ranks them, and cuts what runs on into an invented next problem. What they find is read by `prose`: of a
   sentence, the value that is `asked` for.

Linear in the response's length.
"""
