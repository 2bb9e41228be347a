 ;; -- nothing
/* */