SELECT 'it''s', "dq\"", r'\raw', X'1F', 'a' 'b', `t``q`, $$x$$, :p, ?, {{ ds }}, ${var.x} /* /* nested */ */ -- ü
