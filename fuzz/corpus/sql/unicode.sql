SELECT 'é
' AS ü,
	`ß` FROM 😀 WHERE ﻿a‮ =  1